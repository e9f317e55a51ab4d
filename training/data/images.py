"""Images of one small shape, in memory; each of their batches is a pure function of (seed, step)."""

import dataclasses
import functools
import hashlib

import keras
import numpy as np

from training.config import SMALL, DataConfig
from training.data import pipeline
from training.data.augmentation import Augmentation
from training.data.known import KNOWN

ORDER, AUGMENT = range(2)  # independent streams of random numbers


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A data set in memory: images (N, height, width, channels) uint8 and labels (N,) int32, to train and to test."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    genuine: bool = True  # whether they are those of the data set of this name
    kind = "images of one small shape"
    networks = SMALL

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.train_images.shape[1:]

    @property
    def train_count(self) -> int:
        return len(self.train_labels)

    @property
    def test_count(self) -> int:
        return len(self.test_labels)

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """Per-pixel mean of the training images scaled to [0, 1] (4.2): (height, width, channels) float32."""
        return (self.train_images.mean(axis=0, dtype=np.float64) / 255).astype(np.float32)

    @functools.cached_property
    def sha256(self) -> str:
        """Of all images and labels, in their order."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Scales to [0, 1] and subtracts the per-pixel mean: uint8 to float32."""
        return images * np.float32(1 / 255) - self.mean

    def augmentation(self, config: DataConfig) -> Augmentation | None:
        """What `config` asks for; where it leaves that open, what suits this set: of an unknown one a shift of an
        eighth of the shorter side, and no flip, for a mirrored image may have another label."""
        if not config.augment:
            return None
        known = KNOWN.get(self.name)
        shift, flip = (known.shift, known.flip) if known else (min(self.shape[:2]) // 8, False)
        return Augmentation(
            shift if config.shift is None else config.shift, flip if config.flip is None else config.flip
        )

    def batches(self, batch_size: int, seed: int, config: DataConfig, part: tuple[int, int] = (0, 1)) -> "Batches":
        return Batches(self, batch_size, seed, self.augmentation(config), part)


def _generator(seed, stream, index):
    """A counter-based generator: its numbers are a function of (seed, stream, index)."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, int(index), stream]))


@functools.lru_cache(maxsize=2)
def _order(seed, epoch, examples):
    return _generator(seed, ORDER, epoch).permutation(examples)


class Batches:
    """The training batches of a run: `batches(step)` is a pure function of (seed, step).

    An epoch is a permutation of the training images; what does not fill its last batch is left out of it.

    Args:
        images: the data set.
        batch_size: int, images a batch.
        seed: int from 0 to 2**32 - 1.
        augmentation: how training images are changed; None: not at all.
        part: (index of this worker, number of workers); `stream` and `validation` give its part of each batch.
    """

    bad: tuple[str, ...] = ()  # images that were left out: these are decoded already

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None,
        part: tuple[int, int] = (0, 1),
    ):
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.part = part
        self.augmentation = augmentation
        self.steps_per_epoch = len(images.train_labels) // batch_size

    def fault(self, error: Exception) -> None:
        """Of the data, which was looked at when it was loaded."""

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (batch, height, width, channels) float32 and labels (batch,) int32 of `step`, counted from 0."""
        epoch, place = divmod(int(step), self.steps_per_epoch)
        order = _order(self.seed, epoch, len(self.images.train_labels))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        images = self.images.normalize(self.images.train_images[rows])
        if self.augmentation:
            images = self.augmentation(images, _generator(self.seed, AUGMENT, step))
        return images, self.images.train_labels[rows]

    def stream(self, first_step: int, last_step: int):
        """The batches from `first_step` up to, and without, `last_step`, as `fit` of the Keras backend takes them."""
        if keras.backend.backend() != "tensorflow":
            return (self(step) for step in range(first_step, last_step))
        return self._dataset(self, range(first_step, last_step), self.batch_size)

    def validation(self, batch_size: int):
        """The test images, each once, in full batches: images, labels, and weights of mean 1, 0 where a batch is
        filled up."""
        tests = _Tests(self.images, batch_size)
        if keras.backend.backend() != "tensorflow":
            return tests
        return self._dataset(tests.__getitem__, range(len(tests)), batch_size)

    def _dataset(self, batch, steps, batch_size):
        """This worker's parts of `batch(step)`, as tf.data."""
        import tensorflow as tf

        index, workers = self.part
        own = batch_size // workers

        def make(step):
            return tuple(array[index * own : (index + 1) * own] for array in batch(step))

        example = make(steps[0])

        def load(step):
            arrays = tf.numpy_function(make, [step], [array.dtype for array in example])
            return tuple(tf.ensure_shape(array, value.shape) for array, value in zip(arrays, example, strict=True))

        return pipeline.ahead(tf.data.Dataset.range(steps.start, steps.stop).map(load))


class _Tests(keras.utils.PyDataset):
    """The test images of an `ImageSet` in full batches."""

    def __init__(self, images: ImageSet, batch_size: int):
        super().__init__()
        self.images = images
        self.batch_size = batch_size

    def __len__(self):
        return -(-self.images.test_count // self.batch_size)

    def __getitem__(self, index):
        count = self.images.test_count
        places = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        rows = places % count
        weights = np.where(places < count, len(self) * self.batch_size / count, 0).astype(np.float32)
        return self.images.normalize(self.images.test_images[rows]), self.images.test_labels[rows], weights
