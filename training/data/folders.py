"""Images in folders: train/CLASS/*, and val/CLASS/*, validation/CLASS/* or test/CLASS/*."""

import pathlib

from training.config import DataConfig
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.errors import UserError

TESTS = ("val", "validation", "test")


def is_one(path: pathlib.Path) -> bool:
    """Whether a folder holds images so."""
    return (path / "train").is_dir() and any((path / name).is_dir() for name in TESTS)


def load(name: str, path: pathlib.Path, config: DataConfig) -> ImageSet | PhotoSet:
    raise UserError(f"data.name: expected a folder with train/ and val/, found {path}")
