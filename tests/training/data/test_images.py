"""Batches are a pure function of (seed, step); data sets come as TFDS prepares them."""

import json
import math
import socket
import sys
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from training.config import DataConfig
from training.data import sources
from training.data.augmentation import AUGMENTATIONS, Augmentation
from training.data.images import Batches, ImageSet
from training.errors import UserError


def image_set(count=50, size=8, channels=3, name="cifar10"):
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(name, images, np.arange(count, dtype=np.int32), images[:7], np.arange(7, dtype=np.int32), 10)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 10_000), min_size=1, max_size=5),
    batch_size=st.integers(1, 50),
)
def test_a_batch_depends_on_seed_and_step_alone(seed, steps, batch_size):
    fresh = [Batches(image_set(), batch_size, seed, augment=True)(step) for step in steps]
    batches = Batches(image_set(), batch_size, seed, augment=True)
    for step, (images, labels) in list(zip(steps, fresh, strict=True))[::-1]:
        again = batches(step)
        np.testing.assert_array_equal(again[0], images)
        np.testing.assert_array_equal(again[1], labels)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 300), batch_size=st.integers(1, 50))
def test_an_epoch_shows_each_image_at_most_once_and_fills_every_batch(seed, epoch, batch_size):
    batches = Batches(image_set(), batch_size, seed, augment=False)
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    labels = np.concatenate([batches(step)[1] for step in steps])
    assert len(set(labels)) == len(labels) == 50 // batch_size * batch_size


def test_epochs_and_seeds_differ_in_order_and_augmentation():
    first = Batches(image_set(), 50, 0, augment=True)
    other_seed = Batches(image_set(), 50, 1, augment=True)
    assert (first(0)[1] != first(1)[1]).any()
    assert (first(0)[1] != other_seed(0)[1]).any()
    by_label = [images[np.argsort(labels)] for images, labels in (first(0), first(1), other_seed(0))]
    assert (by_label[0] != by_label[1]).any()
    assert (by_label[0] != by_label[2]).any()


def test_without_augmentation_an_image_is_scaled_and_the_per_pixel_mean_subtracted():
    images = image_set()
    batch, labels = Batches(images, 10, 0, augment=False)(3)
    expected = images.train_images[labels] / 255 - images.train_images.mean(axis=0) / 255
    np.testing.assert_allclose(batch, expected, atol=1e-6)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(images.normalize(images.train_images).mean(axis=0), 0, atol=1e-6)


def test_every_shift_up_to_the_limit_and_both_flips_happen_and_the_fill_is_zero():
    images = image_set(count=4)
    batches = Batches(images, 4, 0, augment=True)
    batches.augmentation = Augmentation(shift=2, flip=True)
    padded = np.pad(images.normalize(images.train_images), ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for step in range(200):
        for image, label in zip(*batches(step), strict=True):
            found = [
                (top, left, flip)
                for top in range(5)
                for left in range(5)
                for flip in (1, -1)
                if np.array_equal(image, padded[label, top : top + 8, left : left + 8][:, ::flip])
            ]
            assert len(found) == 1
            seen.update(found)
    assert len(seen) == 5 * 5 * 2


def test_digits_are_never_flipped_and_the_tables_name_every_data_set():
    assert AUGMENTATIONS["digits"].flip is False
    assert AUGMENTATIONS["cifar10"] == AUGMENTATIONS["cifar100"] == Augmentation(4, True)  # 4.2
    names = DataConfig.__annotations__["name"].__args__
    assert set(names) - {"imagenet2012"} == set(AUGMENTATIONS)


def test_digits_are_whole_stratified_and_disjoint():
    digits = sources.load(DataConfig("digits"))
    assert digits.train_images.shape == (1437, 8, 8, 1)
    assert digits.test_images.shape == (360, 8, 8, 1)
    assert np.bincount(digits.test_labels).min() >= 34
    train = {image.tobytes() for image in digits.train_images}
    assert not any(image.tobytes() in train for image in digits.test_images)


def test_train_examples_takes_the_first_and_the_mean_is_theirs():
    whole, part = sources.load(DataConfig("digits")), sources.load(DataConfig("digits", train_examples=100))
    np.testing.assert_array_equal(part.train_images, whole.train_images[:100])
    np.testing.assert_allclose(part.mean, whole.train_images[:100].mean(axis=0) / 255, atol=1e-6)
    assert len(part.test_labels) == 360
    with pytest.raises(UserError, match=r"data.train_examples.*at most 1437 for digits, found 2000"):
        sources.load(DataConfig("digits", train_examples=2000))


def test_the_stream_gives_the_batches_from_the_first_step_to_the_last():
    batches = Batches(image_set(), 16, 5, augment=True)
    given = list(batches.stream(2, 8).as_numpy_iterator())
    assert len(given) == 6
    for step, (images, labels) in enumerate(given, 2):
        np.testing.assert_array_equal(images, batches(step)[0])
        np.testing.assert_array_equal(labels, batches(step)[1])


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
    with pytest.raises(UserError, match=rf"data.data_dir.*cifar10.*none in {tmp_path}.*tfds build cifar10"):
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


def arrays(shape=(32, 32, 3)):
    values = np.random.default_rng(0)
    return {
        f"{kind}_{part}": values.integers(0, 256, (count, *shape), np.uint8) if kind == "x" else np.arange(count) % 10
        for part, count in (("train", 30), ("test", 11))
        for kind in "xy"
    }


@pytest.mark.parametrize(("name", "shape"), [("cifar10", (32, 32, 3)), ("fashion_mnist", (28, 28, 1))])
def test_an_archive_of_arrays_is_read_as_it_stands(name, shape, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)  # as where it is not installed
    stored = arrays(shape)
    np.savez(tmp_path / f"{name}.npz", **stored)
    images = sources.load(DataConfig(name, data_dir=str(tmp_path)))
    assert images.num_classes == 10
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(images, f"{part}_images"), stored[f"x_{part}"])
        np.testing.assert_array_equal(getattr(images, f"{part}_labels"), stored[f"y_{part}"])
    with pytest.raises(UserError, match=r"data.data_dir: expected a folder with cifar100.npz"):
        sources.load(DataConfig("cifar100", data_dir=str(tmp_path)))


def test_images_that_only_bear_the_name_are_told_from_those_of_the_data_set(tmp_path, monkeypatch, capsys):
    stored = arrays()
    order = np.random.default_rng(1).permutation(30)
    np.savez(tmp_path / "cifar10.npz", **stored | {f"{kind}_train": stored[f"{kind}_train"][order] for kind in "xy"})
    config = DataConfig("cifar10", data_dir=str(tmp_path), train_examples=20)
    assert not sources.load(config).genuine
    assert "warning: data.name: expected the images of cifar10, found others" in capsys.readouterr().err
    sums = tuple(int(stored[f"{kind}_{part}"].sum()) for part in ("train", "test") for kind in "xy")
    monkeypatch.setitem(sources.SUMS, "cifar10", sums)
    assert sources.load(config).genuine  # in whatever order, and also a part of them
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("key", "change", "found"),
    [
        ("x_train", lambda x: x[:, :31], r"x_train of uint8 (30, 31, 32, 3), not of uint8 (N, 32, 32, 3)"),
        ("x_test", lambda x: x / 255, r"x_test of float64 (11, 32, 32, 3), not of uint8"),
        ("x_train", lambda x: x[:0], r"x_train of uint8 (0, 32, 32, 3)"),
        ("y_train", lambda y: y[:, None], r"y_train of int64 (30, 1), not of integers (30,)"),
        ("y_train", lambda y: y[:-1], r"y_train of int64 (29,), not of integers (30,)"),
        ("y_test", lambda y: y / 2, r"y_test of float64"),
        ("y_test", lambda y: np.where(np.arange(11) == 7, 10, y), r"label 10 at index 7 of y_test, not one below 10"),
        ("y_train", lambda y: y - 1, r"label -1 at index 0 of y_train"),
    ],
)
def test_an_archive_that_cannot_be_is_refused_with_the_array_and_index(key, change, found, tmp_path):
    stored = arrays()
    np.savez(tmp_path / "cifar10.npz", **stored | {key: change(stored[key])})
    with pytest.raises(UserError) as error:
        sources.load(DataConfig("cifar10", data_dir=str(tmp_path)))
    assert f"{tmp_path / 'cifar10.npz'}: expected the images and labels of cifar10, found " in str(error.value)
    assert found in str(error.value)


def test_an_archive_that_is_broken_or_lacks_an_array_is_refused(tmp_path):
    path = tmp_path / "cifar10.npz"
    np.savez(path, **arrays())
    content = path.read_bytes()
    middle = len(content) // 2
    for broken in (b"", content[:-30], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=rf"{path}: expected the images and labels of cifar10, found "):
            sources.load(DataConfig("cifar10", data_dir=str(tmp_path)))
    np.savez(path, x_train=arrays()["x_train"])
    with pytest.raises(UserError, match="y_train"):
        sources.load(DataConfig("cifar10", data_dir=str(tmp_path)))


@pytest.mark.parametrize(("batch", "workers"), [(250, 1), (256, 1), (252, 2), (999, 3), (10_001, 1)])
def test_each_of_10_000_test_images_counts_once_at_any_batch_size(batch, workers):
    images = np.zeros((10_000, 1, 1, 1), np.uint8)
    images = ImageSet("digits", images[:1], np.zeros(1, np.int32), images, np.arange(10_000, dtype=np.int32), 10)
    parts = [images.batches(1, 0, True, (worker, workers)).validation(batch) for worker in range(workers)]
    found = [list(part.as_numpy_iterator()) for part in parts]
    assert {len(labels) for of_worker in found for _, labels, _ in of_worker} == {batch // workers}
    labels, weights = (np.concatenate([part[i] for of_worker in found for part in of_worker]) for i in (1, 2))
    assert sorted(labels[weights > 0]) == list(range(10_000))
    assert weights.mean() == pytest.approx(1)
    assert len(set(weights[weights > 0])) == 1
