"""The embedded images."""

import numpy as np

from training.data.images import ImageSet


def load() -> ImageSet:
    """scikit-learn's 1,797 handwritten digits (8, 8, 1): 1,437 to train and 360 held out, a fixed stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int32)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)
    return ImageSet("digits", train_x, train_y, test_x, test_y, tuple("0123456789"))
