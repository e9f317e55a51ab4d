"""ResNeXt for small images (Xie et al. 2017)."""

import keras

from models.depths import check_widths, units_per_stage
from models.factory import LayerFactory, check_shortcut, convolution


def resnext(
    depth,
    cardinality=8,
    base_width=64,
    unit="relu-ic-conv",
    num_classes=10,
    input_shape=(32, 32, 3),
    rate=0.05,
    normalization="batch",
    momentum=0.99,
    epsilon=1e-3,
    shortcut="projection",
    use_bias=True,
    l2=1e-4,
):
    """ResNeXt-depth, cardinality x base_width d: units of 1x1, 3x3 in groups, 1x1 (Xie et al. 2017, Fig. 3c).

    The published networks are of the unit "baseline" with the shortcut "projection-norm", and have no bias.

    Args:
        depth: int, 9n + 2.
        cardinality: int, the number of groups.
        base_width: int, the channels of a group in the first stage; twice and four times as many in the others.
        unit, num_classes, input_shape, rate, normalization, momentum, epsilon, shortcut, use_bias, l2: as in
            `models.cifar_resnet`.

    Returns:
        keras.Model: functional, images (batch, *input_shape), float, to logits (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    n = units_per_stage("resnext", depth)
    check_widths(cardinality=cardinality, base_width=base_width)
    check_shortcut(shortcut)

    def convs(width, strides):
        inner = width // 64 * cardinality * base_width
        grouped = convolution(inner, 3, strides, groups=cardinality)
        return [convolution(inner, 1), grouped, convolution(4 * width, 1)]

    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image")
    x = layers.stem(inputs, "stem", **convolution(64, 3))
    x = layers.stages(x, (64, 128, 256), (n, n, n), convs, shortcut)
    return keras.Model(inputs, layers.head(x, num_classes), name=f"resnext_{depth}_{cardinality}x{base_width}d")
