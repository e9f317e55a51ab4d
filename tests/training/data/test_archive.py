"""An archive of arrays is a data set as it stands, or is refused."""

import sys

import numpy as np
import pytest

from training.config import DataConfig
from training.data import sources
from training.errors import UserError


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
