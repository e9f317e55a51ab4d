"""Any set of TensorFlow Datasets: which examples are to train and to test, and which feature is what."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from training.config import DataConfig
from training.data import sources
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.errors import UserError

NAMES = ["ä b", "c", "d"]


@pytest.fixture
def written(tmp_path):
    """Writes a data set of one's own: `written("flowers", train=30)`; image i has the value i and the label i % 3."""

    def write(name, shape=(6, 5, 3), features=(), size=None, **splits):
        features = {
            "number": tf.int64,
            "picture": tfds.features.Image(shape=shape),
            "other": tfds.features.ClassLabel(num_classes=2),
            "kind": tfds.features.ClassLabel(names=NAMES),
        } | dict(features)
        features = {key: value for key, value in features.items() if value is not None}

        def examples(count):
            for i in range(count):
                picture = np.full([side or size or 40 for side in shape], i, np.uint8)
                values = {"number": i, "picture": picture, "other": i % 2, "kind": i % 3}
                yield i, {key: values[key] for key in features}

        with tfds.core.registered.skip_registration():

            class Own(tfds.core.GeneratorBasedBuilder):
                VERSION = tfds.core.Version("1.0.0")

                def _info(self):
                    keys = ("picture", "kind") if {"picture", "kind"} <= features.keys() else None
                    return self.dataset_info_from_configs(
                        features=tfds.features.FeaturesDict(features), supervised_keys=keys
                    )

                def _split_generators(self, manager):
                    return {split: examples(count) for split, count in splits.items()}

                def _generate_examples(self):
                    raise NotImplementedError

        Own.name = name
        Own.pkg_dir_path = tmp_path
        Own(data_dir=str(tmp_path)).download_and_prepare()
        return str(tmp_path)

    return write


def values(images):
    return sorted(int(image.flat[0]) for image in images)


def test_a_set_without_a_test_split_is_cut_and_each_label_stays_with_its_image(written):
    folder = written("flowers", train=30)
    config = DataConfig("flowers", folder, train_split="train[:80%]", test_split="train[80%:]")
    images = sources.load(config)
    assert isinstance(images, ImageSet)
    assert (images.shape, images.class_names, images.genuine) == ((6, 5, 3), tuple(NAMES), True)
    assert (images.train_count, images.test_count) == (24, 6)
    assert sorted(values(images.train_images) + values(images.test_images)) == list(range(30))
    for pixels, labels in ((images.train_images, images.train_labels), (images.test_images, images.test_labels)):
        assert list(pixels[:, 0, 0, 0] % 3) == list(labels)


@pytest.mark.parametrize("test", ["test", "validation"])
def test_the_usual_splits_are_found(test, written):
    images = sources.load(DataConfig("flowers", written("flowers", train=9, **{test: 5})))
    assert (values(images.train_images), values(images.test_images)) == ([*range(9)], [*range(5)])


@pytest.mark.parametrize(
    ("splits", "asked", "said"),
    [
        ({"train": 9}, {}, "data.test_split: expected one of train, or a slice such as train[:90%], found none"),
        (
            {"extra": 9},
            {"test_split": "extra"},
            "data.train_split: expected one of extra, or a slice such as extra[:90%]",
        ),
        ({"train": 9, "test": 5}, {"train_split": "nope"}, "data.train_split: expected one of train, test, or a"),
        ({"train": 9, "test": 5}, {"test_split": "test["}, "found test[: "),
        ({"train": 9, "test": 5}, {"test_split": "test[5:]"}, "found test[5:], which has no example"),
        ({"train": 9}, {"test_split": "train[8:]"}, "data.test_split: expected no example of data.train_split, train"),
        (
            {"train": 9, "test": 5},
            {"train_split": "train+test[:3]", "test_split": "test[2:]"},
            "expected no example of data.train_split, train+test[:3], found test[2:]",
        ),
    ],
)
def test_splits_that_are_not_there_or_share_examples_are_refused(splits, asked, said, written):
    with pytest.raises(UserError) as error:
        sources.load(DataConfig("flowers", written("flowers", **splits), **asked))
    assert said in str(error.value)


@pytest.mark.parametrize("missing", ["picture", "kind"])
def test_a_set_without_an_image_or_a_label_is_refused(missing, written):
    folder = written("flowers", features={missing: None, "other": None}, train=3, test=3)
    with pytest.raises(UserError, match=r"expected an image and a label in flowers, found .*number"):
        sources.load(DataConfig("flowers", folder))


def test_images_that_are_large_or_of_many_shapes_are_photographs(written):
    for name, shape in (("large", (97, 20, 3)), ("many", (None, None, 3))):
        images = sources.load(DataConfig(name, written(name, shape=shape, train=9, test=5), image_size=32))
        assert isinstance(images, PhotoSet)
        assert (images.shape, images.class_names) == ((32, 32, 3), tuple(NAMES))
        assert (images.train_count, images.test_count) == (9, 5)


def test_a_slice_of_photographs_is_streamed_once_each(written):
    folder = written("many", shape=(None, None, 3), train=20)
    config = DataConfig("many", folder, train_split="train[5:]", test_split="train[:5]", image_size=32, augment=False)
    images = sources.load(config)
    batches = images.batches(5, 0, config)
    seen = [
        (image[0, 0, 0], label)
        for x, y in batches.stream(0, 3)
        for image, label in zip(x.numpy(), y.numpy(), strict=True)
    ]
    tested = [
        (image[0, 0, 0], label)
        for x, y, weight in batches.validation(3)
        for image, label, one in zip(x.numpy(), y.numpy(), weight.numpy(), strict=True)
        if one
    ]
    assert sorted(value for value, _ in seen + tested) == list(range(20))
    assert len(tested) == 5
    assert all(value % 3 == label for value, label in seen + tested)
    assert (
        images.sha256
        != sources.load(DataConfig("many", folder, test_split="train[:5]", train_split="train[6:]")).sha256
    )


def test_a_set_of_ones_own_trains_and_its_class_names_travel(written, train):
    folder = written("flowers", train=250, test=11)
    options = f"--data.name flowers --data.data_dir {folder} --data.shift 1 --data.flip true --data.augment true"
    assert train(f"{options} --train.epochs 1 --train.drops [] --train.global_batch_size 32")[0] == 0
    run = train.only()
    assert json.loads((run / "env.json").read_text())["class_names"] == NAMES
    assert (run / "checkpoints" / "labels.txt").read_text().splitlines() == NAMES
    assert json.loads((run / "result.json").read_text())["evaluated_images"] == 11


def test_images_of_the_other_kind_are_refused_for_a_network(written, train):
    folder = written("many", shape=(None, None, 3), train=9, test=5)
    code, _, err = train(f"--data.name many --data.data_dir {folder}")
    assert code == 2
    assert "model.network: expected imagenet_resnet for many, which is photographs, found cifar_resnet" in err
