"""ResNet and ResNet-B for small images (4.2; He et al. 2016a, 4.2; He et al. 2016b)."""

import keras

from iclayer.errors import require
from models.units import LayerFactory, check_shortcut


def units_per_stage(depth, bottleneck):
    """n of depth 6n + 2 (two weight layers a unit) or 9n + 2 (three).

    Raises:
        ValueError: no n above 0 gives `depth`; the message names the nearest valid depths.
    """
    step = 9 if bottleneck else 6
    n = (depth - 2) // step
    nearest = [step * k + 2 for k in (n, n + 1) if k >= 1] or [step + 2]
    named = f"the nearest {'being' if len(nearest) == 1 else 'are'} {' and '.join(map(str, nearest))}"
    require("depth", n > 0 and depth == step * n + 2, f"{step}n + 2 for {bottleneck=}, {named}", f"{depth=}")
    return n


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
    n = units_per_stage(depth, bottleneck)
    check_shortcut(shortcut)
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image")
    x = layers.stem(inputs, "stem", filters=16, kernel_size=3, strides=1)
    x = layers.stages(x, (16, 32, 64), (n, n, n), bottleneck, shortcut)
    logits = layers.head(x, num_classes)
    return keras.Model(inputs, logits, name=f"resnet{'_b' if bottleneck else ''}_{depth}")
