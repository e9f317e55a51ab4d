"""Folders of images as people have them: what is accepted, what is left out, and what is refused in one line.

Small images go into memory, photographs stay where they are; what holds for both is tested with both.
"""

import shutil

import numpy as np
import pytest
from folders import COLOURS, encoded, image, write
from PIL import Image

import train_cifar
import train_imagenet
from training.config import DataConfig
from training.data import sources
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.errors import UserError

KINDS = {"small": (20, 24), "photographs": (200, 150)}  # width, height
CLASSES = ("Katze", "Käfer groß", "dog")
FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP"}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def root(tmp_path, kind):
    """Two PNGs of each class to train, and one to test."""
    files = {
        f"{part}/{name}/{i}.png": encoded(image(10 * k + i, *KINDS[kind]), "PNG")
        for k, name in enumerate(CLASSES)
        for part, places in (("train", (0, 1)), ("val", (2,)))
        for i in places
    }
    return write(tmp_path / "images", files)


def load(root, **options):
    return sources.load(DataConfig(str(root), **options))


def seen(images):
    """Images and labels of a set, first those to train with, in any order; of a photograph its middle."""
    batches = images.batches(images.train_count, 0, DataConfig(augment=False))
    (train,) = batches.stream(0, 1)
    tests = list(batches.validation(1))
    return (np.concatenate([train[i], *(test[i] for test in tests)]) for i in (0, 1))


def labels_of(images):
    _, labels = seen(images)
    return sorted(labels[: images.train_count]), list(labels[images.train_count :])


def test_what_fits_into_memory_goes_there_and_classes_are_in_the_order_of_their_names(root, kind):
    images = load(root)
    assert isinstance(images, ImageSet if kind == "small" else PhotoSet)
    assert images.class_names == ("Katze", "Käfer groß", "dog")
    assert (images.train_count, images.test_count, images.num_classes) == (6, 3, 3)
    assert labels_of(images) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])


@pytest.mark.parametrize("folder", ["val", "validation", "test"])
def test_what_to_test_with_is_called_so_or_so(root, folder, capsys):
    if folder != "val":
        (root / "val").rename(root / folder)
    write(root, {"test/dog/2.png": (root / folder / "dog" / "2.png").read_bytes()})  # beside another not looked at
    assert load(root).test_count == 3
    assert capsys.readouterr().err == ""


def test_a_data_set_of_a_known_name_may_be_a_folder_in_data_dir(root, kind):
    root.rename(root.parent / "flowers")
    assert load("flowers", data_dir=str(root.parent)).train_count == 6
    assert load("imagenette", data_dir=str(root.parent / "flowers")).train_count == 6


@pytest.mark.parametrize("name", [".DS_Store", "._0.png", ".0.png", ".hidden/0.png"])
def test_hidden_files_are_left_out(root, name, capsys):
    for part in ("train", "train/dog", "val", "val/dog"):
        write(root / part, {name: encoded(image(0, 9, 9), "PNG")})
    images = load(root)
    assert (images.train_count, images.test_count, images.num_classes) == (6, 3, 3)
    assert capsys.readouterr().err == ""


def test_other_files_are_left_out_and_counted(root, capsys):
    write(root, dict.fromkeys(("train/dog/Thumbs.db", "train/README.txt", "val/dog/boxes.txt", "val/dog/a/x"), b"text"))
    images = load(root)
    assert (images.train_count, images.test_count, images.num_classes) == (6, 3, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"warning: {root}: left out 4, not .jpg, .jpeg, .png, .gif, .bmp or .webp" in line
    assert line.endswith("such as train/README.txt")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_every_format_is_taken_in_small_and_in_capital_letters(root, kind, suffix, change):
    content = encoded(image(7, *KINDS[kind]), FORMATS[suffix])
    write(root, {f"train/dog/new.{change(suffix)}": content, f"val/dog/new.{change(suffix)}": content})
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 2])


def test_a_file_is_what_it_holds_not_what_it_is_called(root, kind):
    """ILSVRC2012 has a PNG that is called .JPEG."""
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_suffix(".JPEG"))
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])


@pytest.mark.parametrize("colours", COLOURS)
def test_colours_of_every_kind_become_red_green_and_blue(root, kind, colours):
    content = COLOURS[colours](KINDS[kind])
    write(root, {"train/dog/new.png": content, "val/dog/new.png": content})
    images = load(root)
    assert images.shape[2] == 3
    assert labels_of(images) == ([0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 2])


def test_orientation_is_not_looked_at(root, kind):
    plain, orientation = image(1, *KINDS[kind]), Image.Exif()
    orientation[0x0112] = 6  # turned by a quarter
    write(root, {"val/dog/2.png": encoded(plain, "PNG"), "val/dog/3.png": encoded(plain, "PNG", exif=orientation)})
    pixels, _ = seen(load(root))
    np.testing.assert_array_equal(pixels[-1], pixels[-2])


def test_folders_within_a_class_are_of_it(root):
    """As tiny-imagenet has them."""
    for name in CLASSES:
        shutil.move(root / "train" / name, root / "images")
        shutil.move(root / "images", root / "train" / name / "images")
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])


def test_links_to_files_and_of_classes_are_followed(root):
    elsewhere = root.parent / "elsewhere"
    (root / "train" / "dog").rename(elsewhere)
    (root / "train" / "dog").symlink_to(elsewhere)
    (root / "val" / "dog" / "linked.png").symlink_to(elsewhere / "0.png")
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2], [0, 1, 2, 2])


def test_links_to_folders_within_a_class_are_left_out_and_counted_so_that_none_is_walked_twice(root, capsys):
    (root / "train" / "dog" / "self").symlink_to(root / "train" / "dog")
    (root / "train" / "dog" / "all.png").symlink_to(root)
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2], [0, 1, 2])
    assert "left out 2," in capsys.readouterr().err


def test_classes_that_are_not_tested_are_fine(root):
    shutil.rmtree(root / "val" / "Katze")
    assert labels_of(load(root)) == ([0, 0, 1, 1, 2, 2], [1, 2])


def lacks_images(root):
    for path in (root / "train" / "dog").iterdir():
        path.unlink()


def has_no_class(root):
    shutil.rmtree(root / "val")
    write(root, {"val/0.png": b"", "val/1.png": b""})


REFUSED = {
    "an empty class": (lacks_images, r"train/dog: expected images, found 0 other files"),
    "an empty class to test": (lambda root: (root / "val" / "dog" / "2.png").unlink(), r"val/dog: expected images"),
    "a class of texts": (
        lambda root: [path.rename(path.with_suffix(".txt")) for path in (root / "val" / "dog").iterdir()],
        r"val/dog: expected images, found 1 other files",
    ),
    "a class that is not trained": (
        lambda root: write(root, {"val/Dog/0.png": b""}),
        r"val/Dog: expected a class of .*/train, found none of that name",
    ),
    "no class": (has_no_class, r"val: expected a folder for each class, found 2 files"),
    "nothing to train with": (
        lambda root: [shutil.rmtree(path) for path in (root / "train").iterdir()],
        r"train: expected a folder for each class, found 0 files",
    ),
    "no folder to test": (
        lambda root: shutil.rmtree(root / "val"),
        r"data.name: expected a folder with train/CLASS/\* and val/CLASS/\*, found no such folders in .*images",
    ),
    "no folder": (
        shutil.rmtree,
        r"data.name: expected a folder with train/CLASS/\* and val/CLASS/\*, found no such folders in .*images",
    ),
    "a link to itself": (
        lambda root: (root / "train" / "loop").symlink_to("loop"),
        r"loop: expected a folder that can be read, found Too many levels of symbolic links",
    ),
    "a name that is no text": (
        lambda root: (root / "train" / "dog").rename(root / "train" / "d\udcffg"),
        r"train: expected names of classes in UTF-8, found 'd.udcffg'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_right_is_refused_in_one_line(root, kind, what, capsys):
    change, said = REFUSED[what]
    change(root)
    with pytest.raises(UserError, match=said):
        load(root)
    script = train_cifar if kind == "small" else train_imagenet
    assert script.main(["--data.name", str(root), "--out", str(root.parent / "runs")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_small_images_of_several_sizes_are_photographs(tmp_path):
    files = {f"{part}/a/{i}.png": encoded(image(i, 20 + i), "PNG") for part in ("train", "val") for i in range(2)}
    assert isinstance(load(write(tmp_path, files)), PhotoSet)


@pytest.mark.parametrize(
    ("side", "kept", "fits"),
    [(96, 10**6, True), (97, 10**6, False), (96, 4 * 96 * 96 * 3, True), (96, 4 * 96 * 96 * 3 - 1, False)],
)
def test_memory_takes_sides_and_bytes_up_to_a_limit(tmp_path, monkeypatch, side, kept, fits):
    from training.data import folders

    monkeypatch.setattr(folders, "BYTES", kept)
    files = {f"{part}/a/{i}.png": encoded(image(i, side, side), "PNG") for part in ("train", "val") for i in range(2)}
    assert isinstance(load(write(tmp_path, files)), ImageSet) == fits


def test_a_name_that_no_folder_can_have_is_refused():
    with pytest.raises(UserError, match=r"data.name: expected a folder with train/CLASS/"):
        load("./" + 300 * "x")


def test_images_are_in_the_order_of_their_names_however_the_disk_lists_them(tmp_path):
    names = [f"{part}/{name}/{i:02}.png" for part in ("train", "test") for name in "ab" for i in range(20)]
    write(tmp_path, dict.fromkeys(names[::-1], encoded(image(0, 100, 100), "PNG")))
    assert load(tmp_path).source.paths == names


def test_other_names_and_sizes_have_another_sum(root):
    first = load(root).sha256
    assert load(root).sha256 == first
    path = root / "train" / "dog" / "0.png"
    path.rename(path.with_name("3.png"))
    renamed = load(root).sha256
    write(
        root,
        {"train/dog/3.png": encoded(image(77, *Image.open(path.with_name("3.png")).size), "PNG", compress_level=0)},
    )
    assert load(root).sha256 not in (first, renamed)
