"""Data sets that TensorFlow Datasets prepares."""

import logging
import socket
import urllib.parse
import urllib.request

import numpy as np

from training.data.images import ImageSet
from training.errors import UserError, reason


def find(name: str, data_dir: str | None):
    """The `tfds.core.DatasetBuilder` of a data set that is prepared, or can be downloaded.

    Raises:
        UserError: it is neither, or TensorFlow Datasets is not installed.
    """
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
        how = "docs/imagenet.md says how it is made" if by_hand else "without data.data_dir it is downloaded"
        raise UserError(f"data.data_dir: expected a prepared {name}, found none in {folder}; {how}")
    _download(builder)
    return builder


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


def load(name: str, data_dir: str | None) -> ImageSet:
    """Reads a data set of small images into memory.

    Raises:
        UserError: it is not to be had, or is broken.
    """
    builder = find(name, data_dir)
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


def skip_decoding():
    """What has TensorFlow Datasets leave images as they are stored."""
    import tensorflow_datasets as tfds

    return {"image": tfds.decode.SkipDecoding()}
