"""Where images come from, by the name of their data set."""

import dataclasses
import pathlib
import sys

import numpy as np

from training.config import DataConfig
from training.data import archive, digits, prepared
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.errors import UserError

SUMS = {  # of training pixels, training labels, test pixels and test labels, in whatever order images come
    "cifar10": (18_540_676_619, 225_000, 3_733_374_198, 45_000),
    "cifar100": (18_729_378_732, 2_475_000, 3_755_249_331, 495_000),
    "fashion_mnist": (3_431_114_169, 270_000, 573_469_082, 45_000),
}


def load(config: DataConfig) -> ImageSet | PhotoSet:
    """Reads the data set that `config` names: the embedded digits, `data_dir/<name>.npz`, or from TFDS.

    TFDS downloads it to its own folder if no `data_dir` is given. The .npz file holds x_train and x_test, images (N,
    height, width, channels) uint8, and y_train and y_test, labels (N,).

    Raises:
        UserError: it is not to be had, is broken, or has fewer than `train_examples` training images.
    """
    file = pathlib.Path(config.data_dir or ".") / f"{config.name}.npz"
    if config.name == "digits":
        images = digits.load()
    elif config.data_dir is not None and file.exists():
        images = archive.load(config.name, file)
    elif config.name == PhotoSet.name:
        photographs = PhotoSet(prepared.find(config.name, config.data_dir), config.on_bad_image)
        photographs.check()
        return photographs
    else:
        images = prepared.load(config.name, config.data_dir)
    if images.name in SUMS and _sums(images) != SUMS[images.name]:
        print(
            f"warning: data.name: expected the images of {images.name}, found others; reports say so", file=sys.stderr
        )
        images = dataclasses.replace(images, genuine=False)
    count, wanted = len(images.train_labels), config.train_examples
    if wanted is None:
        return images
    if wanted > count:
        raise UserError(f"data.train_examples: expected at most {count} for {config.name}, found {wanted}")
    return dataclasses.replace(
        images, train_images=images.train_images[:wanted], train_labels=images.train_labels[:wanted]
    )


def _sums(images):
    arrays = (images.train_images, images.train_labels, images.test_images, images.test_labels)
    return tuple(int(array.sum(dtype=np.int64)) for array in arrays)
