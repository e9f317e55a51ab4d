"""Images for benchmarks of the training on small images."""

import numpy as np

from training.data.images import ImageSet


def random_images(count: int) -> ImageSet:
    """Training images of CIFAR-10's shape, and a fifth as many to test, as it has; their content costs nothing."""
    values = np.random.default_rng(0)
    images, labels = values.integers(0, 256, (count, 32, 32, 3), np.uint8), values.integers(0, 10, count, np.int32)
    return ImageSet("cifar10", images, labels, images[: count // 5], labels[: count // 5], tuple("0123456789"))
