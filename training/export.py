"""The trained model in a file of its own: images as they are in, logits out."""

import pathlib

import keras
import numpy as np

import iclayer  # noqa: F401  Keras finds the layer by it
from training import files
from training.errors import UserError

MEAN = "image_mean"  # name of the layer that subtracts it
MODEL, LABELS = "model.keras", "labels.txt"


def save(folder: pathlib.Path, model: keras.Model, mean: np.ndarray | None, class_names: tuple[str, ...]) -> None:
    """Saves the trained model for `keras.saving.load_model`, and the names of its classes, a line each.

    Args:
        folder: for model.keras and labels.txt.
        model: the network.
        mean: what was subtracted from its images, scaled to [0, 1]: (height, width, channels) float32. None: the
            network takes images of 0 to 255 already.
        class_names: of its logits, in their order.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / MODEL
    new = folder / f"new-{MODEL}"
    try:
        whole = _from_images(model, mean)
        # Not with its own metrics: Keras finds no function of ours when it loads them.
        whole.compile(optimizer=model.optimizer, loss=model.loss, metrics=["accuracy"])
        whole.save(new)
        files.settle(new, path)
    except (OSError, RuntimeError) as error:  # h5py raises either
        new.unlink(missing_ok=True)
        raise UserError(f"{path}: expected to write the trained model, found {error}") from error
    files.replace(folder / LABELS, "".join(f"{' '.join(name.split())}\n" for name in class_names))


def load(folder: pathlib.Path) -> keras.Model:
    """The trained model that `save` left in a folder.

    Raises:
        UserError: there is none, or it is broken.
    """
    path = folder / MODEL
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # zipfile, h5py and Keras have their own
        raise UserError(f"{path}: expected the trained model of a finished run, found {error}") from error


def class_names(folder: pathlib.Path) -> list[str]:
    """The names of its classes, in the order of its logits.

    Raises:
        UserError: they are not there, or cannot be read.
    """
    path = folder / LABELS
    expected = f"{path}: expected the names of the classes, a line each, found"
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{expected} none: the run is of an older version") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{expected} {error}") from error


def _from_images(model: keras.Model, mean: np.ndarray | None) -> keras.Model:
    """The same layers, from images of 0 to 255: uint8, or any other numbers.

    The images are scaled to [0, 1] and `mean`, which is a weight, is subtracted, in float32 (4.2).
    """
    if mean is None:
        return keras.Model(model.input, model.output, name=model.name)
    inputs = keras.Input(mean.shape, name="image")
    scale = keras.layers.Rescaling(1 / 255, dtype="float32", name="image_rescaling")
    subtract = keras.layers.Normalization(axis=(1, 2, 3), dtype="float32", name=MEAN)
    subtract.build((None, *mean.shape))
    subtract.adapt_mean.assign(mean)
    subtract.finalize_state()

    def call(layer, *args, **kwargs):
        if args[0] is inputs:
            args = (subtract(scale(inputs)), *args[1:])
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, inputs, clone_function=lambda layer: layer, call_function=call)


def network(model: keras.Model) -> keras.Model:
    """What was trained, of a model that was saved: without preprocessing, which the files of older runs have not."""
    if MEAN not in (layer.name for layer in model.layers):
        return model
    return keras.Model(model.get_layer(MEAN).output, model.outputs, name=model.name)
