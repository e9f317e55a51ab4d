"""Images in files of their own, a folder for each class, as many people have ILSVRC2012."""

import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np

from training.data import pixels
from training.data.prepared import TEST, TRAIN
from training.errors import UserError

LOOKED_AT = 100


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """Images that are files; where a `PhotoSet` has its photographs from, and an element is the place of a file.

    Args:
        root: the folder.
        class_names: names of the folders of train, in order.
        paths: of the images, below `root`: first those to train with.
        labels: (N,) int32, the class of each.
        train_count: int, how many of them are to train with.
    """

    root: pathlib.Path
    class_names: tuple[str, ...]
    paths: list[str]
    labels: np.ndarray
    train_count: int

    def count(self, part: str) -> int:
        return len(self._places(part))

    def _places(self, part):
        return range(self.train_count) if part == TRAIN else range(self.train_count, len(self.paths))

    def some(self, part: str) -> list[pathlib.Path]:
        """At most `LOOKED_AT` files, from all over a part."""
        places = self._places(part)
        return [self.root / self.paths[place] for place in places[:: -(-len(places) // LOOKED_AT)]]

    @functools.cached_property
    def sha256(self) -> str:
        """Of the files' names and sizes: reading them would take as long as an epoch."""
        digest = hashlib.sha256(f"{self.train_count}\n".encode())
        for path in self.paths:
            try:
                size = os.stat(f"{self.root}/{path}").st_size  # noqa: PTH116 (a million of them)
            except OSError:
                size = -1  # as a photograph that cannot be decoded
            digest.update(os.fsencode(f"{path} {size}\n"))
        return digest.hexdigest()

    def check(self) -> None:
        """Sees to it that there are photographs.

        Raises:
            UserError: none of some files of a part is one.
        """
        for part in (TRAIN, TEST):
            paths = self.some(part)
            if not any(path.is_file() and pixels.is_one(path.read_bytes()) for path in paths):
                raise UserError(f"{paths[0]}: expected a photograph, found none, nor in {len(paths) - 1} other files")

    def unreadable(self) -> str | None:
        """Names the first file that is missing; while others are there, it is a photograph that cannot be decoded."""
        missing = (path for path in self.paths if not (self.root / path).exists())
        return next((f"{self.root}/{path}: expected a photograph, found no file" for path in missing), None)

    @functools.cached_property
    def _tensors(self):
        """Paths and labels, which the functions of `tf.data` share."""
        import tensorflow as tf

        with tf.init_scope(), tf.device("CPU"):
            return tf.constant([os.fsencode(path) for path in self.paths]), tf.constant(self.labels)

    def elements(self, part: str, order=None):
        """The places of the files of a part as `tf.data`.

        Args:
            part: `TRAIN` or `TEST`.
            order: (seed, epoch), of which the order is a function; None: by name.
        """
        import tensorflow as tf

        places = tf.range(self._places(part).start, self._places(part).stop)
        if order:
            places = tf.random.experimental.stateless_shuffle(places, seed=order)
        return tf.data.Dataset.from_tensor_slices((places,))

    def example(self, place):
        """The image, as it is stored, and the label of an element."""
        import tensorflow as tf

        paths, labels = self._tensors
        return tf.io.read_file(tf.strings.join([os.fsencode(self.root) + b"/", paths[place]])), labels[place]

    def name(self, place) -> str:
        """What a user would call an element: its file."""
        return f"{self.root}/{self.paths[int(place)]}"
