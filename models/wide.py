"""Wide ResNet for small images (Zagoruyko & Komodakis 2016)."""

import keras

from models.depths import check_widths, units_per_stage
from models.factory import LayerFactory, basic_convs, check_shortcut, convolution


def wide_resnet(
    depth,
    width=10,
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
    """WRN-depth-width: ResNet of 3x3, 3x3 units, `width` times as wide.

    The published networks are of the unit "bn-relu-conv", or "wide" with dropout, and have no bias.

    Args:
        depth: int, 6n + 4, shortcuts counted.
        width: int, k: the stages have 16k, 32k, 64k channels.
        unit, num_classes, input_shape, rate, normalization, momentum, epsilon, shortcut, use_bias, l2: as in
            `models.cifar_resnet`.

    Returns:
        keras.Model: functional, images (batch, *input_shape), float, to logits (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    n = units_per_stage("wide_resnet", depth)
    check_widths(width=width)
    check_shortcut(shortcut)
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image")
    x = layers.stem(inputs, "stem", **convolution(16, 3))
    x = layers.stages(x, (16 * width, 32 * width, 64 * width), (n, n, n), basic_convs, shortcut)
    return keras.Model(inputs, layers.head(x, num_classes), name=f"wide_resnet_{depth}_{width}")
