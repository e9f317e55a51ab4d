"""Photographs on disk, of any size: of each only what is used is decoded, in the order of seed and epoch (4.3)."""

import dataclasses
import functools
import os
import sys
from typing import Any, Protocol

from training.config import DataConfig
from training.data import pipeline
from training.data.crops import Crop, central_view
from training.data.known import ILSVRC2012
from training.data.prepared import TEST, TRAIN

COUNTS = (1_281_167, 50_000)  # photographs of ILSVRC2012 to train and to test
ORDERED = None  # instead of an epoch: the order of the files
AT_A_TIME = 16  # photographs that one thread decodes


class Source(Protocol):
    """Where photographs come from: `training.data.tfrecords.TFRecords`, or `training.data.imagefolder.ImageFolder`."""

    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def sha256(self) -> str: ...
    def count(self, part: str) -> int: ...
    def check(self) -> None: ...
    def unreadable(self) -> str | None: ...
    def elements(self, part: str, order: Any = None) -> Any: ...
    def example(self, *element: Any) -> tuple[Any, Any]: ...
    def name(self, *element: Any) -> str: ...


@dataclasses.dataclass(frozen=True)
class PhotoSet:
    """A data set of photographs of any size, to train and to test.

    Args:
        name: of the data set.
        source: where the photographs come from.
        size: int, height and width of what the network sees of each.
        on_bad_image: "error" ends a run at a training photograph that cannot be decoded, "skip" leaves it out.
    """

    name: str
    source: Source
    size: int = 224
    on_bad_image: str = "error"
    mean = None  # the network subtracts it
    kind = "photographs"
    networks = ("imagenet_resnet",)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.size, self.size, 3

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def genuine(self) -> bool:
        """Whether they are those of the data set of this name: of ILSVRC2012, as many as it has."""
        return self.name != ILSVRC2012 or (self.train_count, self.test_count) == COUNTS

    @property
    def train_count(self) -> int:
        return self.source.count(TRAIN)

    @property
    def test_count(self) -> int:
        return self.source.count(TEST)

    @property
    def sha256(self) -> str:
        return self.source.sha256

    def augmentation(self, config: DataConfig) -> Crop | None:
        """What `config` asks for; a mirrored photograph keeps its label, unless it says otherwise."""
        if not config.augment:
            return None
        return Crop(config.area, config.aspect, config.flip is not False)

    def batches(self, batch_size: int, seed: int, config: DataConfig, part: tuple[int, int] = (0, 1)) -> "PhotoBatches":
        return PhotoBatches(self, batch_size, seed, self.augmentation(config), part)


class PhotoBatches:
    """The training batches of a run, and the test images, as `tf.data`.

    The order is a function of (seed, epoch), which the source has; crop and flip are one of (seed, epoch, place in the
    epoch). What does not fill the last batch of an epoch is left out of it.

    Args:
        images: the data set.
        batch_size: int, images a batch, over all workers.
        seed: int from 0 to 2**32 - 1.
        augmentation: how training images are cropped; None: as those to test.
        part: (index of this worker, number of workers): each decodes its part of every batch.
    """

    def __init__(self, images: PhotoSet, batch_size: int, seed: int, augmentation: Crop | None, part: tuple[int, int]):
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.part = part
        self.steps_per_epoch = images.train_count // batch_size
        self.bad: list[str] = []  # names of the photographs that were left out
        self.broken: str | None = None  # name of the photograph that ended a stream

    def stream(self, first_step: int, last_step: int):
        """Batches of images (batch, size, size, 3) uint8 and labels (batch,) int32; both steps begin an epoch."""
        import tensorflow as tf

        def epoch(number):
            view = functools.partial(self.augmentation.view, self.seed, number) if self.augmentation else _central
            return self._views(TRAIN, number, self.steps_per_epoch, self.batch_size, view)

        epochs = tf.data.Dataset.range(first_step // self.steps_per_epoch, last_step // self.steps_per_epoch)
        return pipeline.ahead(epochs.flat_map(epoch).map(lambda places, images, labels: (images, labels)))

    def validation(self, batch_size: int):
        """The test images, each once, in full batches: images, labels, and weights of mean 1, 0 where a batch is
        filled up."""
        import tensorflow as tf

        count = self.images.test_count
        steps = -(-count // batch_size)

        def weigh(places, images, labels):
            return images, labels, tf.where(places < count, steps * batch_size / count, 0.0)

        return pipeline.ahead(self._views(TEST, ORDERED, steps, batch_size, _central).map(weigh))

    def fault(self, error: Exception) -> str | None:
        """The line that says which photograph or file made a stream end with `error`, if one did."""
        import tensorflow as tf

        if self.broken:
            return (
                f"{self.broken}: expected a photograph, found none; `--data.on_bad_image skip` leaves out such "
                "among those to train with"
            )
        of_files = (tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)
        return self.images.source.unreadable() if isinstance(error, of_files) else None

    def _elements(self, which, epoch, count, batch_size):
        """This worker's photographs among the first `count`, each behind its place among all."""
        order = ORDERED if epoch is ORDERED else [self.seed, epoch]
        elements = self.images.source.elements(which, order).repeat().take(count).enumerate()
        index, workers = self.part
        if workers == 1:
            return elements
        return elements.filter(lambda place, element: place % batch_size // (batch_size // workers) == index)

    def _views(self, which, epoch, steps, batch_size, view):
        """This worker's parts of `steps` batches: places, images and labels.

        TensorFlow does not say which photograph it could not decode. So such are left out, the first ones come again
        for them, and they are missed by the places of those that come. Errors of decoding alone are ignored: those of
        reading the records are not in the data sets that a thread decodes.
        """
        import tensorflow as tf

        own = batch_size // self.part[1]

        def load(place, element):
            image, label = self.images.source.example(*element)
            return place, view(place, image, self.images.size), tf.cast(label, tf.int32)

        def miss(due, batch):
            numbers = batch[0] // batch_size * own + batch[0] % own  # among this worker's photographs of the epoch
            dues = tf.concat([[due], numbers[:-1] + 1], axis=0)
            gaps = (numbers - dues) % (steps * own)
            note = functools.partial(self._note, which, steps * batch_size, batch_size)
            missed = [tf.constant(-1, tf.int64) if epoch is ORDERED else epoch, dues, gaps]
            tf.cond(tf.reduce_any(gaps > 0), lambda: tf.numpy_function(note, missed, []), tf.no_op)
            return numbers[-1] + 1, batch

        def decode(places, elements):
            return tf.data.Dataset.from_tensor_slices((places, elements)).map(load).ignore_errors()

        threads = os.cpu_count()
        elements = self._elements(which, epoch, steps * batch_size, batch_size).batch(AT_A_TIME)
        views = elements.interleave(decode, threads, AT_A_TIME, num_parallel_calls=threads, deterministic=True)
        views = views.repeat().batch(own, drop_remainder=True)
        batches = views.take(steps).scan(tf.constant(0, tf.int64), miss)
        return batches.apply(tf.data.experimental.assert_cardinality(steps))

    def _note(self, which, count, batch_size, epoch, dues, gaps):
        """Names the photographs that were missed: `gaps` of them from number `dues` on."""
        import tensorflow as tf

        def read(epoch):
            return self._elements(which, ORDERED if which == TEST else epoch, count, batch_size)

        elements = tf.data.Dataset.from_tensors(epoch).flat_map(read)
        names = []
        for due, gap in zip(dues[gaps > 0], gaps[gaps > 0], strict=True):
            missed = elements.repeat().skip(due % (count // self.part[1])).take(gap)
            names += [self.images.source.name(*element) for _, element in missed]
        if which == TEST or self.images.on_bad_image == "error":
            self.broken = self.broken or names[0]
            raise ValueError(names)
        self.bad += names
        for name in names:
            print(f"warning: {name}: expected a photograph, found none; it is left out", file=sys.stderr)


def _central(place, image, size):
    return central_view(image, size)
