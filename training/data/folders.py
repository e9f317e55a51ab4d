"""Images in folders: train/CLASS/*, and val/CLASS/*, validation/CLASS/* or test/CLASS/*."""

import contextlib
import os
import pathlib
import sys

import numpy as np

from training.config import DataConfig
from training.data import pixels
from training.data.imagefolder import ImageFolder
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.data.prepared import BYTES, SIDE, TRAIN
from training.errors import UserError

TESTS = ("val", "validation", "test")  # the first of these that is there
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")


def is_one(path: pathlib.Path) -> bool:
    """Whether a folder holds images so."""
    try:
        return (path / "train").is_dir() and any((path / name).is_dir() for name in TESTS)
    except OSError:  # a name that is too long, or a folder that others may not look into
        return False


def load(name: str, path: pathlib.Path, config: DataConfig) -> ImageSet | PhotoSet:
    """Reads images of one small shape into memory, or lists photographs.

    Raises:
        UserError: there are no such folders, a class has no image, or there is none to train with of a class to test;
            or an image that is to be read cannot be, or has another shape.
    """
    if not is_one(path):
        expected = f"train/CLASS/* and {TESTS[0]}/CLASS/*"
        raise UserError(f"data.name: expected a folder with {expected}, found no such folders in {path}")
    try:
        folder = _list(path.absolute())
    except OSError as error:
        raise UserError(f"{error.filename}: expected a folder that can be read, found {error.strerror}") from error
    shape = _small_shape(folder)
    if not shape:
        return PhotoSet(name, folder, config.image_size, config.on_bad_image)
    count = folder.train_count
    places = np.arange(count) - np.searchsorted(folder.labels[:count], folder.labels[:count])  # within the classes
    in_turns = np.argsort(places, kind="stable")  # so that the first of them, for `train_examples`, are of all classes
    order = np.concatenate([in_turns, np.arange(count, len(folder.paths))])
    images, labels = pixels.read([folder.root / folder.paths[i] for i in order], *shape), folder.labels[order]
    return ImageSet(name, images[:count], labels[:count], images[count:], labels[count:], folder.class_names)


def _small_shape(folder):
    """Height and width, where the images fit into memory and some of them have one small shape."""
    shapes = []
    for path in folder.some(TRAIN):
        with contextlib.suppress(Exception):  # whatever Pillow has to say of a file that is named when it is read
            shapes.append(pixels.shape(path))
    if len({shape[:2] for shape in shapes}) != 1:
        return None
    height, width, channels = max(shapes)
    fits = len(folder.paths) * height * width * channels <= BYTES
    return (height, width) if fits and max(height, width) <= SIDE else None


def _list(root):
    """The images of all classes; a line on stderr says how many other files there are."""
    test = next(name for name in TESTS if (root / name).is_dir())
    class_names: list[str] = []
    paths: list[str] = []
    labels: list[int] = []
    others: list[str] = []
    ends = []
    for part in ("train", test):
        classes = _classes(root, part, others)
        class_names = class_names or classes
        for name in classes:
            if name not in class_names:
                raise UserError(f"{root / part / name}: expected a class of {root / 'train'}, found none of that name")
            before = len(others)
            images = sorted(_images(root, f"{part}/{name}", others))
            if not images:
                raise UserError(f"{root / part / name}: expected images, found {len(others) - before} other files")
            paths += images
            labels += [class_names.index(name)] * len(images)
        ends.append(len(paths))
    if others:
        expected = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} in a class's folder"
        print(f"warning: {root}: left out {len(others)}, not {expected}, such as {min(others)}", file=sys.stderr)
    return ImageFolder(root, tuple(class_names), paths, np.array(labels, np.int32), ends[0])


def _classes(root, part, others):
    """Names of the classes, in order; links to folders are such, too."""
    with os.scandir(root / part) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".")]
    names = sorted(entry.name for entry in seen if entry.is_dir())
    others += [f"{part}/{entry.name}" for entry in seen if not entry.is_dir()]
    if not names:
        raise UserError(f"{root / part}: expected a folder for each class, found {len(seen)} files")
    for name in names:
        if name != name.encode(errors="replace").decode():
            raise UserError(f"{root / part}: expected names of classes in UTF-8, found {name!a}")
    return names


def _images(root, folder, others):
    """The images in a folder, and in those within it; links to folders are not followed, so that no image comes twice.

    What else is there is added to `others`, but for what is hidden.
    """
    with os.scandir(f"{root}/{folder}") as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(root, path, others)
            elif entry.name.lower().endswith(SUFFIXES) and not entry.is_dir():
                yield path
            else:
                others.append(path)
