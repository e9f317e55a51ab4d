"""Plain convolutional networks in three sizes, to study orderings without shortcuts."""

import keras

from iclayer.errors import require
from models.factory import LayerFactory, convolution

# Widths and 3x3 convs of each stage. The article that compares small, medium and large models on Fashion-MNIST gives
# no architectures; "small" is smaller than LeNet-5, as it says of its own.
SIZES = {"small": ((8, 16), 1), "medium": ((16, 32, 64), 2), "large": ((32, 64, 128), 3)}


def plain(
    size="medium",
    unit="relu-ic-conv",
    num_classes=10,
    input_shape=(28, 28, 1),
    rate=0.05,
    normalization="batch",
    momentum=0.99,
    epsilon=1e-3,
    use_bias=True,
    l2=1e-4,
):
    """A plain network of 3x3 convs; stride 2 at the first conv of each stage but the first.

    Args:
        size: "small" (2 convs), "medium" (6) or "large" (9).
        unit: a name of `models.UNITS`, or an ordering of one's own; `|`, and what stands behind `;`, change nothing
            here.
        num_classes: int.
        input_shape: (height, width, channels).
        rate, normalization, momentum, epsilon, use_bias, l2: as in `models.cifar_resnet`.

    Returns:
        keras.Model: functional, images (batch, *input_shape), float, to logits (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    require("size", size in SIZES, f"one of {', '.join(SIZES)}", f"{size=}")
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    widths, convs = SIZES[size]
    inputs = x = keras.Input(input_shape, name="image")
    for stage, width in enumerate(widths, 1):
        for i in range(1, convs + 1):
            layer = layers.stem if stage == i == 1 else layers.weight_layer
            x = layer(x, f"stage{stage}", i, **convolution(width, 3, 2 if stage > 1 and i == 1 else 1))
    return keras.Model(inputs, layers.head(x, num_classes), name=f"plain_{size}")
