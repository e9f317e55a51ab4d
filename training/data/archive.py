"""Images in an .npz file."""

import pathlib

import numpy as np

from training.data.images import ImageSet
from training.errors import UserError

SHAPES = {"cifar10": ((32, 32, 3), 10), "cifar100": ((32, 32, 3), 100), "fashion_mnist": ((28, 28, 1), 10)}


def load(name: str, path: pathlib.Path) -> ImageSet:
    """Reads x_train and x_test, images (N, height, width, channels) uint8, and y_train and y_test, labels (N,).

    Raises:
        UserError: the file is broken, or holds others than those of `name`.
    """
    shape, classes = SHAPES[name]

    def read(stored, part):
        images, labels = (stored[f"{kind}_{part}"] for kind in "xy")
        if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            raise ValueError(f"x_{part} of {images.dtype} {images.shape}, not of uint8 (N, {str(shape)[1:]}")
        if labels.dtype.kind not in "iu" or labels.shape != (len(images),):
            raise ValueError(f"y_{part} of {labels.dtype} {labels.shape}, not of integers ({len(images)},)")
        for index in np.flatnonzero((labels < 0) | (labels >= classes))[:1]:
            raise ValueError(f"label {labels[index]} at index {index} of y_{part}, not one below {classes}")
        return images, labels.astype(np.int32)

    try:
        with np.load(path) as stored:
            (train_images, train_labels), (test_images, test_labels) = (
                read(stored, part) for part in ("train", "test")
            )
    except Exception as error:  # whatever NumPy and the archive have to say
        raise UserError(f"{path}: expected the images and labels of {name}, found {error}") from error
    return ImageSet(name, train_images, train_labels, test_images, test_labels, classes)
