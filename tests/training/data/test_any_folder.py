"""Any folder is read with the right labels, or refused in one line."""

import numpy as np
from folders import encoded, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.config import DataConfig
from training.data import sources
from training.data.images import ImageSet
from training.errors import UserError

SIDE = 6


def gray(value, side=SIDE):
    return encoded(Image.new("L", (side, side), value), "PNG")


CONTENTS = {
    "image": gray,
    "colours": lambda value: encoded(Image.new("RGB", (SIDE, SIDE), (value,) * 3), "PNG"),
    "another size": lambda value: gray(value, 9),
    "large": lambda value: gray(value, 120),
    "cut off": lambda value: gray(value)[:-20],
    "text": lambda value: b"no image",
    "nothing": lambda value: b"",
}
FOLDERS = st.tuples(
    st.sampled_from(["train", "train", "train", "val", "test", "other"]),
    st.sampled_from(["a", "b ä", ".hidden", "a/within", ""]),
)
NAMES = st.sampled_from(["{}.png", "{}.PNG", "{}.jpg", "{}.txt", ".{}.png", "{}"])
KINDS = st.sampled_from([*["image"] * 30, *CONTENTS])
GOOD = [((part, folder), "{}.png", "image") for part, folder in (("train", "a"), ("train", "b ä"), ("val", "b ä"))]


@settings(max_examples=200, deadline=None)
@given(good=st.sampled_from([GOOD, GOOD, GOOD[:2], []]), others=st.lists(st.tuples(FOLDERS, NAMES, KINDS), max_size=8))
def test_any_folder_is_read_with_the_right_labels_or_refused_in_one_line(good, others, tmp_path_factory):
    """The value of an image is its place in the list."""
    files, written = [*good, *others], {}
    for value, ((part, folder), name, kind) in enumerate(files):
        written[f"{part}/{folder}/{name.format(value)}".replace("//", "/")] = CONTENTS[kind](value)
    root = write(tmp_path_factory.mktemp("any") / "images", written)
    try:
        images = sources.load(DataConfig(str(root)))
    except UserError as error:
        assert str(root) in str(error) and "\n" not in str(error)
        return
    classes = [folder.split("/")[0] for (_, folder), _, _ in files]
    if isinstance(images, ImageSet):
        pixels = np.concatenate([images.train_images, images.test_images])
        values, labels = pixels[:, 0, 0, 0], np.concatenate([images.train_labels, images.test_labels])
        assert len(set(values)) == len(values)
    else:
        source = images.source
        values, labels = [int(path.split("/")[-1].split(".")[0]) for path in source.paths], source.labels
    assert [images.class_names[label] for label in labels] == [classes[value] for value in values]
