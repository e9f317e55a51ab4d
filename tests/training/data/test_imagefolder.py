"""Photographs in files of their own: their order, what is seen of them, and those that cannot be decoded."""

import dataclasses
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from folders import write
from photographs import jpeg

from training.config import DataConfig
from training.data import sources
from training.errors import UserError


@pytest.fixture
def root(tmp_path):
    """24 photographs to train with and 11 to test with, each a class of its own: its name and label is its width."""
    files = {f"train/{i:03}/{i}.JPEG": jpeg(100 + i, 80) for i in range(24)}
    return write(tmp_path / "folder", files | {f"val/{i:03}/{i}.JPEG": jpeg(100 + i, 90) for i in range(11)})


def load(root, on_bad_image="error"):
    return sources.load(DataConfig(str(root), on_bad_image=on_bad_image, image_size=32))


def listed(dataset):
    return [tuple(np.asarray(part) for part in batch) for batch in dataset.as_numpy_iterator()]


def order(images, seed, epoch):
    (batch,) = listed(images.batches(24, seed, DataConfig()).stream(epoch, epoch + 1))
    return tuple(batch[1])


def test_an_epoch_is_a_permutation_of_all_files_of_seed_and_epoch(root):
    images = load(root)
    orders = {(seed, epoch): order(images, seed, epoch) for seed in (0, 1, 2**32 - 1) for epoch in (0, 1, 7)}
    assert len(set(orders.values())) == 9
    assert all(sorted(found) == list(range(24)) for found in orders.values())
    keras.utils.set_random_seed(5)
    again = load(root)
    assert {key: order(again, *key) for key in orders} == orders
    assert orders[0, 0] == (14, 9, 20, 12, 10, 21, 4, 19, 15, 11, 3, 16, 5, 6, 2, 18, 0, 1, 22, 8, 13, 23, 7, 17)


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_have_parts_of_one_batch(root, workers):
    images = load(root)
    whole = listed(images.batches(8, 0, DataConfig()).stream(0, 6))
    parts = [listed(images.batches(8, 0, DataConfig(), (i, workers)).stream(0, 6)) for i in range(workers)]
    for one, *several in zip(whole, *parts, strict=True):
        for together, own in zip(one, zip(*several, strict=True), strict=True):
            np.testing.assert_array_equal(together, np.concatenate(own))


@pytest.mark.parametrize(("batch", "workers"), [(4, 1), (4, 2), (16, 4), (11, 1)])
def test_each_test_image_counts_once(root, batch, workers):
    images = load(root)
    found = [listed(images.batches(1, 0, DataConfig(), (i, workers)).validation(batch)) for i in range(workers)]
    labels, weights = (np.concatenate([part[i] for of_worker in found for part in of_worker]) for i in (1, 2))
    assert sorted(labels[weights > 0]) == list(range(11))


@pytest.fixture
def both(prepare, root):
    """The same photographs as the files of TensorFlow Datasets, and as a folder."""

    def make(train, test):
        records = prepare(train, test)
        for part, photographs in (("train", train), ("val", test)):
            write(root.parent / "same", {f"{part}/{i:03}/{i}.JPEG": content for i, content in enumerate(photographs)})
        return dataclasses.replace(records, size=32), load(root.parent / "same")

    return make


def test_the_view_at_a_place_of_an_epoch_is_that_of_the_same_photograph_in_other_files(both):
    """The order differs: of files and blocks there, of all photographs here. So all of them are one photograph."""
    views = [
        np.concatenate([images for images, _ in listed(of.batches(4, 3, DataConfig()).stream(0, 6))])
        for of in both([jpeg(110, 70)] * 12, [jpeg(110, 70)])
    ]
    np.testing.assert_array_equal(*views)
    assert len({view.tobytes() for view in views[0]}) == 24


def test_what_is_tested_with_is_the_same_in_other_files(both):
    model = keras.Sequential([keras.layers.AveragePooling2D(4), keras.layers.Flatten(), keras.layers.Dense(11)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True), weighted_metrics=["accuracy"])
    pixels, scores = [], []
    for of in both([jpeg(110, 70)] * 11, [jpeg(100 + i, 40) for i in range(11)]):
        tests = of.batches(1, 0, DataConfig()).validation(4)
        images, labels, weights = (np.concatenate(part) for part in zip(*listed(tests), strict=True))
        pixels.append(images[weights > 0][np.argsort(labels[weights > 0])])
        scores.append(model.evaluate(tests, verbose=0))
    np.testing.assert_array_equal(*pixels)
    assert scores[0] == pytest.approx(scores[1])


def text(path):
    path.write_bytes(b"no photograph")


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def missing(path):
    path.unlink()


DAMAGES = pytest.mark.parametrize("damage", [text, empty, truncated, missing])


@DAMAGES
def test_a_broken_one_to_train_with_is_named_or_counted_and_left_out(root, damage, capsys):
    images, skipping = load(root), load(root, "skip")
    path = root / "train/005/5.JPEG"
    damage(path)
    batches = images.batches(4, 0, DataConfig())
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.stream(0, 6))
    assert batches.fault(raised.value).startswith(f"{path}: expected a photograph, found none")
    capsys.readouterr()
    batches = skipping.batches(4, 0, DataConfig())
    found = listed(batches.stream(0, 6))
    labels = np.concatenate([labels for _, labels in found])
    assert (len(labels), set(labels)) == (24, set(range(24)) - {5})
    assert batches.bad == [str(path)]
    assert f"warning: {path}: expected a photograph, found none; it is left out" in capsys.readouterr().err


@DAMAGES
def test_a_broken_one_to_test_with_is_named(root, damage):
    batches = load(root, "skip").batches(4, 0, DataConfig())
    damage(root / "val/007/7.JPEG")
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.validation(4))
    assert batches.fault(raised.value).startswith(f"{root}/val/007/7.JPEG: expected a photograph, found none")


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_a_folder_that_goes_away_is_named(root, part, on_bad_image):
    batches = load(root, on_bad_image).batches(4, 0, DataConfig())
    (root / part).rename(root / "away")
    with pytest.raises(tf.errors.OpError) as raised:
        listed(batches.stream(0, 6) if part == "train" else batches.validation(4))
    assert batches.fault(raised.value) == f"{root}/{part}/000/0.JPEG: expected a photograph, found no file"


@pytest.mark.parametrize("part", ["train", "val"])
def test_files_none_of_which_is_a_photograph_are_refused(root, part):
    for path in (root / part).rglob("*.JPEG"):
        text(path)
    count = {"train": 23, "val": 10}[part]
    said = rf"{root}/{part}/000/0.JPEG: expected a photograph, found none, nor in {count} other files"
    with pytest.raises(UserError, match=said):
        load(root)


def test_names_of_files_may_be_any_bytes(root):
    (root / "train/005/5.JPEG").rename(root / "train/005/\udcff ä.jpg")
    assert sorted(order(load(root), 0, 0)) == list(range(24))


def test_files_of_other_names_or_sizes_have_another_sum(root):
    sums = [load(root).sha256, load(root).sha256]
    (root / "train/005/5.JPEG").rename(root / "train/005/6.JPEG")
    sums.append(load(root).sha256)
    write(root, {"train/005/6.JPEG": jpeg(10, 10)})
    sums.append(load(root).sha256)
    (root / "train/005/6.JPEG").unlink()
    (root / "train/005/6.JPEG").symlink_to("nowhere")
    sums.append(load(root).sha256)
    assert sums[0] == sums[1]
    assert len(set(sums)) == 4


def test_photographs_are_refused_in_one_line_where_there_is_no_tensorflow(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"data.name: expected images of one small shape, for TensorFlow, .* not here"):
        sources.load(DataConfig(str(root)))
