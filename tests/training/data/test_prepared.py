"""Data sets come as TFDS prepares them; and what it did not prepare so is named."""

import json
import math
import socket
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import models
from training.config import DataConfig
from training.data import sources
from training.errors import UserError


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Writes a small data set of the real shape with TFDS' own writer; gives its folder and its images and labels."""

    def prepare(name, shape, classes):
        values = np.random.default_rng(0)
        written = {
            split: (values.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes)
            for split, count in (("train", 300), ("test", 110))
        }
        builder = tfds.builder(name, data_dir=str(tmp_path))

        def examples(split):
            for i, (image, label) in enumerate(zip(*written[split], strict=True)):
                example = {"image": image, "label": int(label)}
                if "coarse_label" in builder.info.features:
                    example["coarse_label"] = int(label) // 5
                if "id" in builder.info.features:
                    example["id"] = f"{split}_{i:05d}"
                yield i, example

        monkeypatch.setattr(
            type(builder), "_split_generators", lambda self, manager: {split: examples(split) for split in written}
        )
        builder.download_and_prepare()
        monkeypatch.undo()
        return tmp_path, written

    return prepare


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("cifar10", (32, 32, 3), 10), ("cifar100", (32, 32, 3), 100), ("fashion_mnist", (28, 28, 1), 10)],
)
def test_prepared_data_sets_are_read_whole_with_fine_labels(name, shape, classes, prepared):
    folder, written = prepared(name, shape, classes)
    images = sources.load(DataConfig(name, data_dir=str(folder)))
    assert images.num_classes == classes
    for (pixels, labels), (x, y) in zip(
        written.values(),
        [(images.train_images, images.train_labels), (images.test_images, images.test_labels)],
        strict=True,
    ):
        assert sorted(zip(map(bytes, x), y.tolist(), strict=True)) == sorted(
            zip(map(bytes, pixels), labels.tolist(), strict=True)
        )


def count_trainable(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_cifar100_trains(prepared, train):
    folder, _ = prepared("cifar100", (32, 32, 3), 100)
    code, out, _ = train(f"--data.name cifar100 --data.data_dir {folder} --train.epochs 1 --data.augment true")
    assert code == 0
    assert "300 training and 110 test images" in out
    result = json.loads((train.only() / "result.json").read_text())
    assert result["trainable_parameters"] == count_trainable(models.cifar_resnet(8, num_classes=100))


def test_a_set_that_can_neither_be_found_nor_downloaded_is_one_line(tmp_path, monkeypatch):
    def offline(*args):
        raise OSError("no such host\n(and more)")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"cifar10 prepared.*or a network.*no such host \(and more\)"):
        sources.load(DataConfig("cifar10"))
    assert not list(tmp_path.iterdir())


def test_a_set_that_is_missing_where_the_user_says_is_not_downloaded_there(tmp_path):
    with pytest.raises(
        UserError, match=rf"data.data_dir.*cifar10.*none in {tmp_path}.*without data.data_dir it is downloaded"
    ):
        sources.load(DataConfig("cifar10", data_dir=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def rewrite(path, change):
    """Writes a TFRecord file again, with `change` applied to the list of its examples."""
    examples = [tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(path).as_numpy_iterator()]
    change(examples)
    with tf.io.TFRecordWriter(path) as writer:
        for example in examples:
            writer.write(example.SerializeToString())


def with_label(examples):
    examples[7].features.feature["label"].int64_list.value[:] = [10]


def with_negative_label(examples):
    examples[7].features.feature["label"].int64_list.value[:] = [-1]


def with_shape(examples):
    png = tf.io.encode_png(np.zeros((32, 31, 3), np.uint8)).numpy()
    examples[7].features.feature["image"].bytes_list.value[:] = [png]


def without_picture(examples):
    examples[7].features.feature["image"].bytes_list.value[:] = [b"no PNG"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_label, "label 10, not one from 0 to 9"),
        (with_negative_label, "label -1, not one from 0 to 9"),
        (with_shape, "[32,31,3] is not compatible with expected shape [32,32,3]"),
        (without_picture, "Unknown image file format"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_example_that_cannot_be_is_named_by_file_and_index(change, found, split, prepared):
    folder, _ = prepared("cifar10", (32, 32, 3), 10)
    (path,) = map(str, folder.rglob(f"*{split}.tfrecord*"))
    rewrite(path, change)
    with pytest.raises(UserError) as error:
        sources.load(DataConfig("cifar10", data_dir=str(folder)))
    assert f"{path}: expected" in str(error.value)
    assert "found at index 7: " in str(error.value)
    assert found in str(error.value)


@pytest.mark.parametrize("fault", ["flipped", "truncated", "missing"])
def test_a_record_that_cannot_be_read_is_named_by_its_file(fault, prepared):
    folder, _ = prepared("fashion_mnist", (28, 28, 1), 10)
    (path,) = folder.rglob("*train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if fault == "missing" else path.write_bytes(content[: None if fault == "flipped" else -5])
    with pytest.raises(UserError, match=rf"{path}: expected .* found at index \d+: "):
        sources.load(DataConfig("fashion_mnist", data_dir=str(folder)))


def test_a_split_with_too_few_or_too_many_examples_is_refused(prepared):
    folder, _ = prepared("cifar10", (32, 32, 3), 10)
    (path,) = map(str, folder.rglob("*test.tfrecord*"))
    for change, count in (
        (lambda examples: examples.pop(), 109),
        (lambda examples: examples.extend(examples[:2]), 111),
    ):
        rewrite(path, change)
        with pytest.raises(UserError, match=rf"expected 110 examples in test, found {count}"):
            sources.load(DataConfig("cifar10", data_dir=str(folder)))
