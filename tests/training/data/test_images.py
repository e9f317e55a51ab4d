"""Batches are a pure function of (seed, step), and tests count each image once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import DataConfig
from training.data import sources
from training.data.augmentation import Augmentation
from training.data.images import Batches, ImageSet
from training.errors import UserError

TEN = tuple("0123456789")
CHANGED = Augmentation(shift=4, flip=True)


def image_set(count=50, size=8, channels=3, name="cifar10"):
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (count, size, size, channels), np.uint8)
    return ImageSet(name, images, np.arange(count, dtype=np.int32), images[:7], np.arange(7, dtype=np.int32), TEN)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 10_000), min_size=1, max_size=5),
    batch_size=st.integers(1, 50),
)
def test_a_batch_depends_on_seed_and_step_alone(seed, steps, batch_size):
    fresh = [Batches(image_set(), batch_size, seed, CHANGED)(step) for step in steps]
    batches = Batches(image_set(), batch_size, seed, CHANGED)
    for step, (images, labels) in list(zip(steps, fresh, strict=True))[::-1]:
        again = batches(step)
        np.testing.assert_array_equal(again[0], images)
        np.testing.assert_array_equal(again[1], labels)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 300), batch_size=st.integers(1, 50))
def test_an_epoch_shows_each_image_at_most_once_and_fills_every_batch(seed, epoch, batch_size):
    batches = Batches(image_set(), batch_size, seed, None)
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    labels = np.concatenate([batches(step)[1] for step in steps])
    assert len(set(labels)) == len(labels) == 50 // batch_size * batch_size


def test_epochs_and_seeds_differ_in_order_and_augmentation():
    first = Batches(image_set(), 50, 0, CHANGED)
    other_seed = Batches(image_set(), 50, 1, CHANGED)
    assert (first(0)[1] != first(1)[1]).any()
    assert (first(0)[1] != other_seed(0)[1]).any()
    by_label = [images[np.argsort(labels)] for images, labels in (first(0), first(1), other_seed(0))]
    assert (by_label[0] != by_label[1]).any()
    assert (by_label[0] != by_label[2]).any()


def test_without_augmentation_an_image_is_scaled_and_the_per_pixel_mean_subtracted():
    images = image_set()
    batch, labels = Batches(images, 10, 0, None)(3)
    expected = images.train_images[labels] / 255 - images.train_images.mean(axis=0) / 255
    np.testing.assert_allclose(batch, expected, atol=1e-6)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(images.normalize(images.train_images).mean(axis=0), 0, atol=1e-6)


def test_every_shift_up_to_the_limit_and_both_flips_happen_and_the_fill_is_zero():
    images = image_set(count=4)
    batches = Batches(images, 4, 0, Augmentation(shift=2, flip=True))
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


@pytest.mark.parametrize(
    ("name", "size", "shift", "flip"),
    [
        ("cifar10", 32, 4, True),  # 4.2
        ("cifar100", 32, 4, True),
        ("fashion_mnist", 28, 2, True),
        ("digits", 8, 1, False),
        ("mnist", 28, 3, False),  # an eighth
    ],
)
def test_a_data_set_is_changed_as_suits_it_unless_the_config_says_otherwise(name, size, shift, flip):
    images = image_set(size=size, name=name)
    assert images.augmentation(DataConfig(name)) == Augmentation(shift, flip)
    assert images.augmentation(DataConfig(name, shift=0)) == Augmentation(0, flip)
    assert images.augmentation(DataConfig(name, shift=5, flip=not flip)) == Augmentation(5, not flip)
    assert images.augmentation(DataConfig(name, augment=False, shift=5)) is None


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


def test_no_pipeline_has_a_search_to_wait_for_when_it_is_taken_down():
    batches = Batches(image_set(), 10, 0, CHANGED)
    for dataset in (batches.stream(0, 5), batches.validation(4)):
        assert dataset.options().autotune.enabled is False


def test_the_stream_gives_the_batches_from_the_first_step_to_the_last():
    batches = Batches(image_set(), 16, 5, CHANGED)
    given = list(batches.stream(2, 8).as_numpy_iterator())
    assert len(given) == 6
    for step, (images, labels) in enumerate(given, 2):
        np.testing.assert_array_equal(images, batches(step)[0])
        np.testing.assert_array_equal(labels, batches(step)[1])


@pytest.mark.parametrize(("batch", "workers"), [(250, 1), (256, 1), (252, 2), (999, 3), (10_001, 1)])
def test_each_of_10_000_test_images_counts_once_at_any_batch_size(batch, workers):
    images = np.zeros((10_000, 1, 1, 1), np.uint8)
    images = ImageSet("digits", images[:1], np.zeros(1, np.int32), images, np.arange(10_000, dtype=np.int32), TEN)
    parts = [images.batches(1, 0, DataConfig(), (worker, workers)).validation(batch) for worker in range(workers)]
    found = [list(part.as_numpy_iterator()) for part in parts]
    assert {len(labels) for of_worker in found for _, labels, _ in of_worker} == {batch // workers}
    labels, weights = (np.concatenate([part[i] for of_worker in found for part in of_worker]) for i in (1, 2))
    assert sorted(labels[weights > 0]) == list(range(10_000))
    assert weights.mean() == pytest.approx(1)
    assert len(set(weights[weights > 0])) == 1
