"""ResNet and ResNet-B for small images (4.2; He et al. 2016a, 4.2; He et al. 2016b)."""

import keras

from models.depths import units_per_stage
from models.factory import LayerFactory, basic_convs, bottleneck_convs, check_shortcut, convolution


def cifar_resnet(
    depth=110,
    unit="relu-ic-conv",
    bottleneck=False,
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
    """ResNet (3x3, 3x3) or ResNet-B (1x1, 3x3, 1x1 with 4x channels) of widths 16, 32, 64 (4.2).

    Args:
        depth: int, 6n + 2, or 9n + 2 with `bottleneck`; the paper has 110 and 164.
        unit: a name of `models.UNITS`, or an ordering of one's own such as "relu ic conv".
        bottleneck: whether units are bottlenecks (ResNet-B).
        num_classes: int.
        input_shape: (height, width, channels).
        rate: float, 0 <= rate < 1, the fraction that every dropout drops.
        normalization, momentum, epsilon: as in `iclayer.IC`.
        shortcut: where shapes change, "projection" (1x1 conv), "projection-norm" (with the unit's normalization, and
            its dropout, on the same side of the conv) or "identity-pad" (He et al. 2016a, option A).
        use_bias: whether conv layers have a bias.
        l2: float, the L2 penalty on conv kernels.

    Returns:
        keras.Model: functional, images (batch, *input_shape), float, to logits (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    n = units_per_stage("cifar_resnet", depth, bottleneck)
    check_shortcut(shortcut)
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image")
    x = layers.stem(inputs, "stem", **convolution(16, 3))
    x = layers.stages(x, (16, 32, 64), (n, n, n), bottleneck_convs if bottleneck else basic_convs, shortcut)
    logits = layers.head(x, num_classes)
    return keras.Model(inputs, logits, name=f"resnet{'_b' if bottleneck else ''}_{depth}")
