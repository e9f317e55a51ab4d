"""Networks fit images of every size."""

import keras
import numpy as np
import pytest

import models

SHORTCUTS = ("projection", "projection-norm", "identity-pad")


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 9, 2), (20, 24, 3), (97, 5, 4)])
@pytest.mark.parametrize(
    "build",
    [
        *(
            lambda shape, shortcut=shortcut: models.cifar_resnet(8, input_shape=shape, shortcut=shortcut)
            for shortcut in SHORTCUTS
        ),
        lambda shape: models.plain("large", input_shape=shape),
        lambda shape: models.resnext(11, 2, 4, input_shape=shape),
        lambda shape: models.densenet(10, 4, 0.5, True, input_shape=shape),
    ],
    ids=[*SHORTCUTS, "plain", "resnext", "densenet"],
)
def test_networks_of_small_images_take_any_size(build, shape):
    logits = build(shape)(np.ones((2, *shape), np.float32), training=True)
    assert logits.shape == (2, 10)
    assert np.isfinite(keras.ops.convert_to_numpy(logits)).all()


@pytest.mark.parametrize("shape", [(32, 32, 3), (160, 160, 3), (65, 33, 3)])
def test_networks_of_photographs_take_any_crop(shape):
    logits = models.imagenet_resnet(18, num_classes=7, input_shape=shape)(np.ones((2, *shape), np.uint8))
    assert logits.shape == (2, 7)
