"""Data sets that TensorFlow Datasets prepares: which examples are to train and to test, and what they hold."""

import dataclasses
import functools
import itertools
import logging
import socket
import urllib.parse
import urllib.request
from typing import Any

import numpy as np

from training.config import DataConfig
from training.data.images import ImageSet
from training.data.known import ILSVRC2012
from training.errors import UserError, reason

TRAIN, TEST = "train", "test"
TEST_SPLITS = {ILSVRC2012: ("validation",)}  # its "test" has no labels
SIDE, BYTES = 96, 4 * 2**30  # of images that are small enough for memory, each and all


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set of TensorFlow Datasets that is prepared.

    Args:
        builder: the `tfds.core.DatasetBuilder`.
        splits: the splits to train and to test, such as "train[:90%]", by `TRAIN` and `TEST`.
    """

    builder: Any
    splits: dict[str, str]

    @property
    def name(self) -> str:
        return self.builder.name

    @functools.cached_property
    def keys(self) -> tuple[str, str]:
        """Names of the image and the label among the features.

        Raises:
            UserError: there is not one of each.
        """
        import tensorflow_datasets as tfds

        features = self.builder.info.features
        asked = self.builder.info.supervised_keys or ()
        keys = []
        for kind in (tfds.features.Image, tfds.features.ClassLabel):
            of_kind = [key for key, value in features.items() if isinstance(value, kind)]
            keys += [key for key in of_kind if key in asked] or of_kind[:1]
        if len(keys) != 2:
            raise UserError(f"data.name: expected an image and a label in {self.name}, found {', '.join(features)}")
        return keys[0], keys[1]

    @property
    def shape(self):
        """(height, width, channels), None where it is not one for all."""
        return self.builder.info.features[self.keys[0]].shape

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.builder.info.features[self.keys[1]].names)

    @property
    def small(self) -> bool:
        """Whether these are images of one small shape, few enough for memory."""
        if None in self.shape:
            return False
        count = sum(self.count(part) for part in (TRAIN, TEST))
        return max(self.shape[:2]) <= SIDE and count * int(np.prod(self.shape)) <= BYTES

    def info(self, part: str):
        """The `tfds.core.SplitInfo` of `TRAIN` or `TEST`."""
        return self.builder.info.splits[self.splits[part]]

    def count(self, part: str) -> int:
        return self.info(part).num_examples

    def files(self, part: str) -> list[tuple[str, int, int]]:
        """Path, first example and number of examples, -1 for all, of each file of a part."""
        files = self.info(part).file_instructions
        return [(file.filename, file.skip, -1 if file.take == file.examples_in_shard else file.take) for file in files]

    @property
    def undecoded(self):
        """What has TensorFlow Datasets read image and label alone, and leave images as they are stored."""
        import tensorflow_datasets as tfds

        image, label = self.keys
        return tfds.decode.PartialDecoding({image: True, label: True}, decoders={image: tfds.decode.SkipDecoding()})

    def parse(self, record):
        """Image, as it is stored, and label of a serialized example."""
        image, label = self.keys
        partial = self.undecoded
        features = partial.extract_features(self.builder.info.features)
        example = features.deserialize_example(record, decoders=partial.decoders)
        return example[image], example[label]

    def decode(self, image, label):
        """Decodes an image; TFDS would fill one of another shape with what lies behind it in memory."""
        import tensorflow as tf

        image = tf.io.decode_image(image, channels=self.shape[-1], expand_animations=False)
        return tf.ensure_shape(image, self.shape), label


def find(config: DataConfig) -> Prepared:
    """The data set that `config` names, where it is prepared or can be downloaded.

    Raises:
        UserError: it is neither, TensorFlow Datasets is not installed, or it has no such splits.
    """
    name, data_dir = config.name, config.data_dir
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"data.data_dir: expected a folder with {name}.npz, for TensorFlow Datasets is not here ({error}), "
            f"found {data_dir}"
        ) from error

    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns of each folder that is not there yet
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # of many kinds
        said = str(error).splitlines()[0]
        raise UserError(
            f"data.name: expected a set of TensorFlow Datasets, an .npz file or a folder, found {name}: {said}"
        ) from error
    if not builder.is_prepared():
        by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS is not None
        if by_hand or data_dir is not None:
            folder = builder.data_dir_root
            how = "docs/data.md says how it is made" if by_hand else "without data.data_dir it is downloaded"
            raise UserError(f"data.data_dir: expected a prepared {name}, found none in {folder}; {how}")
        _download(builder)
    return Prepared(builder, _splits(builder, config))


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


def _splits(builder, config):
    """The splits to train and to test that `config` names; else those that are there."""
    there = list(builder.info.splits)
    usual = {TRAIN: (TRAIN,), TEST: TEST_SPLITS.get(builder.name, (TEST, "validation"))}
    found = {}
    for part, asked in ((TRAIN, config.train_split), (TEST, config.test_split)):
        spec = asked or next((name for name in usual[part] if name in there), None)
        expected = f"data.{part}_split: expected one of {', '.join(there)}, or a slice such as {there[0]}[:90%]"
        if spec is None:
            raise UserError(f"{expected}, found none, and no split {' or '.join(usual[part])} in {builder.name}")
        try:
            empty = not builder.info.splits[spec].num_examples
        except Exception as error:  # of several kinds
            raise UserError(f"{expected}, found {spec}: {str(error).splitlines()[0]}") from error
        if empty:
            raise UserError(f"{expected}, found {spec}, which has no example")
        found[part] = spec
    train, test = (builder.info.splits[found[part]].file_instructions for part in (TRAIN, TEST))
    for one, other in itertools.product(train, test):
        if one.filename == other.filename and max(one.skip, other.skip) < min(
            one.skip + one.take, other.skip + other.take
        ):
            raise UserError(
                f"data.test_split: expected no example of data.train_split, {found[TRAIN]}, found {found[TEST]}"
            )
    return found


def load(prepared: Prepared, name: str) -> ImageSet:
    """Reads a data set of small images into memory.

    Raises:
        UserError: it is broken.
    """
    (train_images, train_labels), (test_images, test_labels) = (_read(prepared, part) for part in (TRAIN, TEST))
    return ImageSet(name, train_images, train_labels, test_images, test_labels, prepared.class_names)


def _read(prepared, part):
    """Images and labels of a split, each checked."""
    import tensorflow as tf

    image, label = prepared.keys
    try:
        examples = prepared.builder.as_dataset(split=prepared.splits[part], decoders=prepared.undecoded)
        decoded = examples.map(lambda example: prepared.decode(example[image], example[label]), tf.data.AUTOTUNE)
        count = prepared.count(part) + 1  # one more, so that TFDS sees where there are too many
        images, labels = next(decoded.batch(count).as_numpy_iterator())
        _check(prepared, labels)
    except Exception as error:  # whatever tf.data and TFDS say of one example among all
        raise UserError(_fault(prepared, part)) from error
    return images, labels.astype(np.int32)


def _check(prepared, labels):
    classes = len(prepared.class_names)
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise ValueError(f"label {outside[0]}, not one from 0 to {classes - 1}")


def _fault(prepared, part):
    """Names the first example of a split that cannot be used, by file and index in it; or their number."""
    import tensorflow as tf

    total = 0
    for path, skip, take in prepared.files(part):
        index = skip
        try:
            records = tf.data.TFRecordDataset(path).skip(skip).take(take)
            for _, label in records.map(prepared.parse).map(prepared.decode).as_numpy_iterator():
                _check(prepared, label[None])
                index += 1
        except Exception as error:
            expected = f"expected an image and a label of {prepared.name}"
            return f"{path}: {expected}, found at index {index}: {reason(error)}"
        total += index - skip
    expected = f"expected {prepared.count(part)} examples in {prepared.splits[part]}"
    return f"{prepared.builder.data_dir}: {expected}, found {total}"
