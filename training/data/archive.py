"""Images in an .npz file."""

import pathlib

import numpy as np

from training.data.images import ImageSet
from training.data.known import KNOWN
from training.errors import UserError


def load(name: str, path: pathlib.Path) -> ImageSet:
    """Reads x_train and x_test, images (N, height, width, channels) uint8, and y_train and y_test, labels (N,).

    Labels are the integers from 0 on; `class_names` may be there, a text for each.

    Raises:
        UserError: the file is broken, or holds others than those of `name`, where that is known.
    """
    known = KNOWN.get(name)
    try:
        with np.load(path) as stored:
            arrays = {key: stored[key] for key in ("x_train", "y_train", "x_test", "y_test")}
            names = stored.get("class_names")
        shape = known.shape if known else arrays["x_train"].shape[1:]
        classes = known.num_classes if known else 1 + int(arrays["y_train"].max(initial=0))
        for part in ("train", "test"):
            _check(part, arrays[f"x_{part}"], arrays[f"y_{part}"], shape, classes)
        names = np.arange(classes).astype(str) if names is None else names
        if names.shape != (classes,) or names.dtype.kind != "U":
            raise ValueError(f"class_names of {names.dtype} {names.shape}, not of text ({classes},)")
    except Exception as error:  # whatever NumPy and the archive have to say
        of = f" of {name}" if known else ""
        raise UserError(f"{path}: expected the images and labels{of}, found {error}") from error
    labels = (arrays[f"y_{part}"].astype(np.int32) for part in ("train", "test"))
    return ImageSet(name, arrays["x_train"], next(labels), arrays["x_test"], next(labels), tuple(map(str, names)))


def _check(part, images, labels, shape, classes):
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not images.size:
        expected = f"{str(tuple(shape))[1:]}" if len(shape) == 3 else "height, width, channels)"
        raise ValueError(f"x_{part} of {images.dtype} {images.shape}, not of uint8 (N, {expected}")
    if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise ValueError(f"y_{part} of {labels.dtype} {labels.shape}, not of integers ({len(images)},)")
    for index in np.flatnonzero((labels < 0) | (labels >= classes))[:1]:
        raise ValueError(f"label {labels[index]} at index {index} of y_{part}, not one below {classes}")
