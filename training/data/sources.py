"""Where images come from, and whether they fit into memory, by the name of their data set."""

import dataclasses
import importlib.util
import pathlib
import sys

import numpy as np

from training.config import DataConfig, data_path
from training.data import archive, digits, folders, prepared
from training.data.images import ImageSet
from training.data.known import ILSVRC2012, KNOWN
from training.data.photographs import PhotoSet
from training.data.tfrecords import TFRecords
from training.errors import UserError, require


def load(config: DataConfig) -> ImageSet | PhotoSet:
    """Reads images of one small shape into memory, or looks at where photographs are.

    `config.name` is "digits", which are embedded; the path of an .npz file or of a folder, from `config.data_dir`, if
    that is given; or the name of a set of TensorFlow Datasets, which downloads it to its own folder if no `data_dir` is
    given. In `data_dir` there may be, instead, `<name>.npz`, or the folders of that set.

    Raises:
        UserError: it is not to be had, is broken, or has fewer than `train_examples` training images.
    """
    try:
        images = _find(config)
    except OSError as error:  # a name that no file can have, or a folder that others may not look into
        raise UserError(f"data.name: expected a name or a path, found {config.name}: {error.strerror}") from error
    if isinstance(images, PhotoSet):
        require("data.train_examples", config.train_examples, config.train_examples is None, "null for photographs")
        there = importlib.util.find_spec("tensorflow") is not None
        require(
            "data.name",
            config.name,
            there,
            "images of one small shape, for TensorFlow, which reads photographs, is not here",
        )
        images.source.check()
        return images
    known = KNOWN.get(config.name)
    if known and known.sums and _sums(images) != known.sums:
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


def _find(config):
    folder, name = pathlib.Path(config.data_dir or "."), config.name
    path = folder / pathlib.Path(name).expanduser()
    beside = folder / f"{name}.npz"
    if name == "digits":
        _check_splits(config)
        return digits.load()
    if name.endswith(".npz") or (config.data_dir and beside.is_file()):
        _check_splits(config)
        return archive.load(name, path if name.endswith(".npz") else beside)
    # What is known by its name is not looked for in the working folder.
    here = [] if name in KNOWN or name == ILSVRC2012 else [path]
    places = [path, folder] if config.data_dir else here
    copy = next((place for place in places if folders.is_one(place)), None)
    if copy or data_path(name):
        _check_splits(config)
        return folders.load(name, copy or path, config)
    found = prepared.find(config)
    if found.small:
        return prepared.load(found, name)
    return PhotoSet(name, TFRecords(found), config.image_size, config.on_bad_image)


def _check_splits(config):
    for key in ("train_split", "test_split"):
        value = getattr(config, key)
        require(f"data.{key}", value, value is None, f"null, which is for TensorFlow Datasets, with {config.name}")


def _sums(images):
    arrays = (images.train_images, images.train_labels, images.test_images, images.test_labels)
    return tuple(int(array.sum(dtype=np.int64)) for array in arrays)
