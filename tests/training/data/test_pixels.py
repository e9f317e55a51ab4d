"""Small images of files are in memory as they are stored, or the one that is not is named."""

import numpy as np
import pytest
from folders import COLOURS, encoded, image, write
from PIL import Image

from training.config import DataConfig
from training.data import crops, pixels, sources
from training.errors import UserError


def load(root, **options):
    return sources.load(DataConfig(str(root), **options))


@pytest.fixture
def root(tmp_path):
    """Two images of each of three classes to train, and one to test."""
    places = [(part, name, i) for part, count in (("train", 2), ("test", 1)) for name in range(3) for i in range(count)]
    return write(tmp_path, {f"{p}/{name}/{i}.png": encoded(image(10 * name + i), "PNG") for p, name, i in places})


def test_pixels_and_labels_are_those_of_the_files(root):
    images = load(root)
    assert sorted(images.train_labels) == [0, 0, 1, 1, 2, 2]
    places = {0: [], 1: [], 2: []}
    for found, label in zip(images.train_images, images.train_labels, strict=True):
        np.testing.assert_array_equal(found, image(10 * label + len(places[label])))
        places[label].append(label)
    np.testing.assert_array_equal(images.test_images, [image(10 * label) for label in range(3)])
    np.testing.assert_array_equal(images.test_labels, range(3))


def test_the_first_of_them_are_of_all_classes(root):
    write(root, {f"train/0/a{i}.png": encoded(image(i), "PNG") for i in range(5)})
    assert list(load(root, train_examples=6).train_labels) == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("colours", COLOURS)
def test_their_colours_are_those_of_a_photograph(tmp_path, colours):
    path = tmp_path / "image.png"
    path.write_bytes(COLOURS[colours]((20, 24)))
    photograph = crops.view(path.read_bytes(), lambda shape: ([2, 0], [20, 20]), 20).numpy()
    off = np.abs(pixels.read([path], 24, 20)[0, 2:22].astype(int) - photograph).max()
    assert off <= (12 if colours in ("CMYK", "gray") else 0)  # these are JPEGs, which photographs are decoded of fast


def test_they_are_gray_where_all_are(tmp_path):
    deep = Image.fromarray(np.full((24, 20), 511, np.uint16))
    grays = [image(1, mode="L"), image(2, mode="1"), image(3, mode="LA"), deep]
    files = {f"{part}/a/{i}.png": encoded(gray, "PNG") for part in ("train", "test") for i, gray in enumerate(grays)}
    images = load(write(tmp_path, files))
    expected = [np.asarray(grays[0]), np.asarray(grays[1]) * 255, np.asarray(grays[2])[..., 0], np.ones((24, 20))]
    for found in (images.train_images, images.test_images):
        np.testing.assert_array_equal(found, np.stack(expected)[..., None])
    coloured = load(write(tmp_path, {"test/a/5.png": encoded(image(5), "PNG")}))
    np.testing.assert_array_equal(coloured.train_images, np.repeat(images.train_images, 3, axis=3))
    np.testing.assert_array_equal(coloured.test_images[-1], image(5))


def text(path):
    path.write_bytes(b"no image")


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def missing(path):
    path.unlink()
    path.symlink_to("nowhere.png")


@pytest.mark.parametrize("damage", [text, empty, truncated, missing])
@pytest.mark.parametrize("which", ["train/2/1.png", "test/1/0.png"])
def test_a_broken_one_is_named(root, which, damage):
    damage(root / which)
    with pytest.raises(UserError, match=rf"{root / which}: expected an image, found none"):
        load(root)


@pytest.mark.parametrize("form", ["JPEG", "GIF", "BMP", "WEBP"])
def test_one_that_is_cut_off_is_named(root, form):
    path = root / "train/2/1.png"
    path.write_bytes(encoded(image(1), form))
    load(root)
    truncated(path)
    with pytest.raises(UserError, match=rf"{path}: expected an image, found none"):
        load(root)


def test_one_of_another_size_is_named(root):
    write(root, {"test/1/0.png": encoded(image(0, 24, 20), "PNG")})
    said = "test/1/0.png: expected 24 pixels in height and 20 in width, as of other images there, found 20 and 24"
    with pytest.raises(UserError, match=said):
        load(root)
