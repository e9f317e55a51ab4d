"""Data sets and batches; each batch is a pure function of (seed, step)."""

import dataclasses
import functools
import hashlib
import logging
import pathlib
import socket
import sys
import urllib.parse
import urllib.request

import keras
import numpy as np

from training.config import DataConfig
from training.errors import UserError, reason
from training.imagenet import PhotoSet, skip_decoding


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random shift of at most `shift` pixels each way, filled with zeros, then a random horizontal flip (4.2)."""

    shift: int
    flip: bool


AUGMENTATIONS = {
    "cifar10": Augmentation(shift=4, flip=True),
    "cifar100": Augmentation(shift=4, flip=True),
    "fashion_mnist": Augmentation(shift=2, flip=True),
    "digits": Augmentation(shift=1, flip=False),  # a mirrored 2 is no 2
}
SHAPES = {"cifar10": ((32, 32, 3), 10), "cifar100": ((32, 32, 3), 100), "fashion_mnist": ((28, 28, 1), 10)}
SUMS = {  # of training pixels, training labels, test pixels and test labels, in whatever order images come
    "cifar10": (18_540_676_619, 225_000, 3_733_374_198, 45_000),
    "cifar100": (18_729_378_732, 2_475_000, 3_755_249_331, 495_000),
    "fashion_mnist": (3_431_114_169, 270_000, 573_469_082, 45_000),
}
ORDER, AUGMENT = range(2)  # independent streams of random numbers


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A data set in memory: images (N, height, width, channels) uint8 and labels (N,) int32, to train and to test."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    genuine: bool = True  # whether they are those of the data set of this name

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

    def batches(self, batch_size: int, seed: int, augment: bool, part: tuple[int, int] = (0, 1)) -> "Batches":
        return Batches(self, batch_size, seed, augment, part)


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
        augment: whether to shift and flip.
        part: (index of this worker, number of workers); `stream` and `validation` give its part of each batch.
    """

    bad: tuple[str, ...] = ()  # images that were left out: these are decoded already

    def __init__(self, images: ImageSet, batch_size: int, seed: int, augment: bool, part: tuple[int, int] = (0, 1)):
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.part = part
        self.augmentation = AUGMENTATIONS[images.name] if augment else Augmentation(shift=0, flip=False)
        self.steps_per_epoch = len(images.train_labels) // batch_size

    def fault(self, error: Exception) -> None:
        """Of the data, which was looked at when it was loaded."""

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images (batch, height, width, channels) float32 and labels (batch,) int32 of `step`, counted from 0."""
        epoch, place = divmod(int(step), self.steps_per_epoch)
        order = _order(self.seed, epoch, len(self.images.train_labels))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        images = self.images.normalize(self.images.train_images[rows])
        return self._augmented(images, _generator(self.seed, AUGMENT, step)), self.images.train_labels[rows]

    def _augmented(self, images, generator):
        count, height, width, _ = images.shape
        pad = self.augmentation.shift
        tops, lefts = generator.integers(0, 2 * pad + 1, (2, count))
        flips = generator.integers(0, 2, count) if self.augmentation.flip else np.zeros(count, int)
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        out = np.empty_like(images)
        for i, (top, left, flip) in enumerate(zip(tops, lefts, flips, strict=True)):
            crop = padded[i, top : top + height, left : left + width]
            out[i] = crop[:, ::-1] if flip else crop
        return out

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

        return tf.data.Dataset.range(steps.start, steps.stop).map(load).prefetch(tf.data.AUTOTUNE)


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


def load(config: DataConfig) -> ImageSet | PhotoSet:
    """Reads the data set that `config` names: the embedded digits, `data_dir/<name>.npz`, or from TFDS.

    TFDS downloads it to its own folder if no `data_dir` is given. The .npz file holds x_train and x_test, images (N,
    height, width, channels) uint8, and y_train and y_test, labels (N,).

    Raises:
        UserError: it is not to be had, is broken, or has fewer than `train_examples` training images.
    """
    archive = pathlib.Path(config.data_dir or ".") / f"{config.name}.npz"
    if config.name == "digits":
        images = _load_digits()
    elif config.data_dir is not None and archive.exists():
        images = _load_npz(config.name, archive)
    elif config.name == PhotoSet.name:
        photographs = PhotoSet(_prepared(config.name, config.data_dir), config.on_bad_image)
        photographs.check()
        return photographs
    else:
        images = _load_tfds(config.name, config.data_dir)
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
    train = {"train_images": images.train_images[:wanted], "train_labels": images.train_labels[:wanted]}
    return dataclasses.replace(images, **train)


def _sums(images):
    arrays = (images.train_images, images.train_labels, images.test_images, images.test_labels)
    return tuple(int(array.sum(dtype=np.int64)) for array in arrays)


def _load_npz(name, path):
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


def _load_digits():
    """scikit-learn's 1,797 handwritten digits (8, 8, 1): 1,437 to train and 360 held out, a fixed stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int32)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)
    return ImageSet("digits", train_x, train_y, test_x, test_y, num_classes=10)


def _prepared(name, data_dir):
    """The builder of a data set that is prepared, or can be downloaded."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"data.data_dir: expected a folder with {name}.npz, for TensorFlow Datasets is not here ({error}), "
            f"found {data_dir}"
        ) from error

    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns of each folder that is not there yet
    builder = tfds.builder(name, data_dir=data_dir)
    if builder.is_prepared():
        return builder
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS is not None
    if by_hand or data_dir is not None:
        folder = builder.data_dir_root
        command = f"`tfds build {name} --data_dir {folder}`"
        how = f"the README says how {command} makes it" if by_hand else f"{command} downloads it there"
        raise UserError(f"data.data_dir: expected a prepared {name}, found none in {folder}; {how}")
    _download(builder)
    return builder


def _load_tfds(name, data_dir):
    builder = _prepared(name, data_dir)
    (train_images, train_labels), (test_images, test_labels) = (_read(builder, split) for split in ("train", "test"))
    num_classes = builder.info.features["label"].num_classes
    return ImageSet(name, train_images, train_labels, test_images, test_labels, num_classes)


def _read(builder, split):
    """Images and labels of a split, each checked."""
    import tensorflow as tf

    try:
        examples = builder.as_dataset(split=split, decoders=skip_decoding()).map(_decode(builder), tf.data.AUTOTUNE)
        count = builder.info.splits[split].num_examples + 1  # one more, so that TFDS sees where there are too many
        images, labels = next(examples.batch(count).as_numpy_iterator())
        _check(builder, labels)
    except Exception as error:  # whatever tf.data and TFDS say of one example among all
        raise UserError(_fault(builder, split)) from error
    return images, labels.astype(np.int32)


def _decode(builder):
    """Decodes the image of an example; TFDS would fill one of another shape with what lies behind it in memory."""
    import tensorflow as tf

    shape = builder.info.features["image"].shape

    def decode(example):
        image = tf.io.decode_image(example["image"], channels=shape[-1], expand_animations=False)
        return tf.ensure_shape(image, shape), example["label"]

    return decode


def _check(builder, labels):
    classes = builder.info.features["label"].num_classes
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise ValueError(f"label {outside[0]}, not one from 0 to {classes - 1}")


def _fault(builder, split):
    """Names the first example of a split that cannot be used, by file and index in it; or their number."""
    import tensorflow as tf

    def deserialize(record):
        return builder.info.features.deserialize_example(record, decoders=skip_decoding())

    total = 0
    for path in builder.info.splits[split].filepaths:
        index = 0
        try:
            examples = tf.data.TFRecordDataset(str(path)).map(deserialize).map(_decode(builder))
            for _, label in examples.as_numpy_iterator():
                _check(builder, label[None])
                index += 1
        except Exception as error:
            return f"{path}: expected an image and a label of {builder.name}, found at index {index}: {reason(error)}"
        total += index
    return f"{builder.data_dir}: expected {builder.info.splits[split].num_examples} examples in {split}, found {total}"


def _download(builder):
    host = urllib.parse.urlsplit(builder.info.homepage).hostname
    try:
        if not urllib.request.getproxies():
            socket.getaddrinfo(host, 443)  # without a network TFDS tries again for minutes
        builder.download_and_prepare()
    except Exception as error:  # whatever the network, the file system and TFDS have to say
        raise UserError(
            f"data.data_dir: expected a folder with {builder.name} prepared by TensorFlow Datasets, or a network to "
            f"download it, found neither: {error}"
        ) from error
