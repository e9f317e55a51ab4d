"""The trained model in a file of its own: images as they are in, logits out."""

import pathlib

import keras
import numpy as np

from training import files
from training.errors import UserError

MEAN = "image_mean"  # name of the layer that subtracts it


def save(path: pathlib.Path, model: keras.Model, mean: np.ndarray | None) -> None:
    """Saves the trained model for `keras.saving.load_model`.

    Args:
        path: of the file, `.keras`.
        model: the network.
        mean: what was subtracted from its images, scaled to [0, 1]: (height, width, channels) float32. None: the
            network takes images of 0 to 255 already.

    Raises:
        UserError: it cannot be written.
    """
    new = path.with_name(f"new-{path.name}")
    try:
        (model if mean is None else _with_preprocessing(model, mean)).save(new)
        files.settle(new, path)
    except (OSError, RuntimeError) as error:  # h5py raises either
        new.unlink(missing_ok=True)
        raise UserError(f"{path}: expected to write the trained model, found {error}") from error


def save_labels(path: pathlib.Path, class_names: tuple[str, ...]) -> None:
    """Writes the names of the classes, a line each, in the order of the logits.

    Raises:
        UserError: it cannot be written.
    """
    files.replace(path, "".join(f"{' '.join(name.split())}\n" for name in class_names))


def _with_preprocessing(model: keras.Model, mean: np.ndarray) -> keras.Model:
    """The same layers and optimizer, from images of 0 to 255: uint8, or any other numbers.

    The images are scaled to [0, 1] and `mean`, which is a weight, is subtracted, in float32 (4.2).
    """
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

    whole = keras.models.clone_model(model, inputs, clone_function=lambda layer: layer, call_function=call)
    whole.compile(optimizer=model.optimizer, loss=model.loss, metrics=["accuracy"])
    return whole


def network(model: keras.Model) -> keras.Model:
    """What was trained, of a model that was saved: without preprocessing, which the files of older runs have not."""
    if MEAN not in (layer.name for layer in model.layers):
        return model
    return keras.Model(model.get_layer(MEAN).output, model.outputs, name=model.name)
