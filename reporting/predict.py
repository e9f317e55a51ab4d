"""What the network of a finished run takes images for.

python -m reporting.predict RUN_DIR IMAGE...
"""

import argparse
import importlib.util
import pathlib
import sys

import numpy as np
from PIL import Image

from training.data import pixels
from training.data.crops import TEST_PART, central_view
from training.devices.backend import import_keras
from training.errors import UserError, exit_codes, reason

SHOWN = 5  # classes of an image
MODES = {1: "L", 3: "RGB"}  # of Pillow, by the number of channels


def classify(directory: pathlib.Path, paths: list[pathlib.Path]) -> list[list[tuple[str, float]]]:
    """The most probable classes of each image, in falling order: pairs of name and probability.

    Raises:
        UserError: the run is not a finished one, its model or the names of its classes are not to be had, or a file
            holds no image.
    """
    from scipy.special import softmax

    from reporting import analysis
    from training import export

    folder = analysis.read_finished(directory).directory / "checkpoints"
    model, names = export.load(folder), export.class_names(folder)
    (*_, channels), classes = model.input_shape, model.output_shape[-1]
    if len(names) != classes:
        raise UserError(f"{folder / export.LABELS}: expected {classes} names of classes, found {len(names)}")
    if channels not in MODES:
        raise UserError(f"{directory}: expected a network of images with 1 or 3 channels, found {channels}")
    images = np.stack([view(path, model) for path in paths])
    probabilities = softmax(model.predict(images, verbose=0), axis=1)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :SHOWN]
    return [[(names[i], float(row[i])) for i in order] for row, order in zip(probabilities, best, strict=True)]


def view(path: pathlib.Path, model) -> np.ndarray:
    """An image as a network takes it, (height, width, channels) uint8: a photograph as one to test, any other whole.

    Raises:
        UserError: it is not there, or cannot be decoded.
    """
    _, height, width, channels = model.input_shape
    photographs = model.inputs[0].dtype == "uint8"  # a network of small images takes any numbers
    try:
        content = path.read_bytes()
        if photographs and importlib.util.find_spec("tensorflow"):
            return central_view(content, height).numpy()
        found = pixels.decode(content)
        image = Image.fromarray(found[..., 0] if found.shape[2] == 1 else found).convert(MODES[channels])
        if photographs:
            return _central(image, height)
        return np.asarray(image.resize((width, height))).reshape(height, width, channels)
    except Exception as error:  # each decoder has its own
        raise UserError(f"{path}: expected an image, found {reason(error)}") from error


def _central(image, size):
    """What `central_view` does, where it cannot be had."""
    import keras

    side = round(min(image.size) * TEST_PART)
    left, top = ((length - side) // 2 for length in image.size)
    part = np.asarray(image.crop((left, top, left + side, top + side)), np.float32)
    resized = keras.ops.image.resize(part, (size, size), data_format="channels_last")
    return np.round(keras.ops.convert_to_numpy(resized)).astype(np.uint8)


@exit_codes
def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.predict", description="The most probable classes of images, by a finished run."
    )
    parser.add_argument("run", type=pathlib.Path, help="run directory, with its checkpoints")
    parser.add_argument("images", type=pathlib.Path, nargs="+", metavar="image", help="JPEG, PNG, GIF, BMP or WebP")
    options = parser.parse_args(argv)
    import_keras()
    for path, classes in zip(options.images, classify(options.run, options.images), strict=True):
        print(path)
        for name, probability in classes:
            print(f"  {probability:.2f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
