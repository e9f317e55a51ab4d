"""An archive of arrays is a data set as it stands, or is refused."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.config import DataConfig
from training.data import sources
from training.data.known import KNOWN
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
    monkeypatch.setitem(KNOWN, "cifar10", dataclasses.replace(KNOWN["cifar10"], sums=sums))
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


@pytest.mark.parametrize("names", [None, ["a", "ä b", "c", "d", "e", "f", "g"]])
def test_arrays_of_any_shape_are_a_data_set_of_their_own(names, tmp_path):
    stored = arrays((20, 24, 3))
    stored |= {key: stored[key] % 7 for key in ("y_train", "y_test")} | ({"class_names": names} if names else {})
    np.savez(tmp_path / "own.npz", **stored)
    for config in (DataConfig(str(tmp_path / "own.npz")), DataConfig("own.npz", data_dir=str(tmp_path))):
        images = sources.load(config)
        assert (images.shape, images.num_classes, images.genuine) == ((20, 24, 3), 7, True)
        assert images.class_names == tuple(names or "0123456")
        np.testing.assert_array_equal(images.train_images, stored["x_train"])
        np.testing.assert_array_equal(images.test_labels, stored["y_test"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"x_train": np.zeros((30, 20, 24), np.uint8)}, "(30, 20, 24), not of uint8 (N, height, width, channels)"),
        ({"x_test": np.zeros((11, 20, 23, 3), np.uint8)}, "(11, 20, 23, 3), not of uint8 (N, 20, 24, 3)"),
        ({"y_test": np.full(11, 10)}, "label 10 at index 0 of y_test, not one below 10"),  # which training lacks
        ({"class_names": ["a", "b"]}, "class_names of <U1 (2,), not of text (10,)"),
        ({"class_names": np.arange(10)}, "class_names of int64 (10,), not of text (10,)"),
        ({"class_names": np.array([None] * 10, object)}, "allow_pickle"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(change, found, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays((20, 24, 3)) | change)
    with pytest.raises(UserError) as error:
        sources.load(DataConfig(str(tmp_path / "own.npz")))
    assert found in str(error.value)


ANY = {
    "x": hnp.arrays(
        st.sampled_from([np.uint8, np.float32]), hnp.array_shapes(min_dims=3, max_dims=4, min_side=0, max_side=4)
    ),
    "y": hnp.arrays(st.sampled_from([np.int64, np.uint8, np.float64]), st.integers(0, 4), elements=st.integers(0, 3)),
}


@settings(max_examples=200, deadline=None)
@given(
    stored=st.fixed_dictionaries(
        {}, optional={f"{kind}_{part}": ANY[kind] for kind in "xy" for part in ("train", "test")} | {"z": ANY["y"]}
    )
)
def test_any_archive_is_read_as_it_stands_or_refused_in_one_line(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "any.npz"
    np.savez(path, **stored)
    try:
        images = sources.load(DataConfig(str(path)))
    except UserError as error:
        assert str(path) in str(error)
        return
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(images, f"{part}_images"), stored[f"x_{part}"])
        np.testing.assert_array_equal(getattr(images, f"{part}_labels"), stored[f"y_{part}"])
        assert getattr(images, f"{part}_labels").max() < images.num_classes


def test_an_archive_of_ones_own_trains(tmp_path, train):
    stored = arrays((20, 24, 3))
    stored = {key: np.repeat(value, 9, axis=0) for key, value in stored.items()}
    stored |= {key: stored[key] % 7 for key in ("y_train", "y_test")}
    np.savez(tmp_path / "own.npz", **stored)
    code, out, _ = train(f"--data.name {tmp_path / 'own.npz'} --train.epochs 1 --train.drops []")
    assert code == 0
    assert "270 training and 99 test images" in out
