"""DenseNet for small images (Huang et al. 2017)."""

import keras

from models.depths import check_widths, units_per_stage
from models.factory import LayerFactory, convolution


def densenet(
    depth,
    growth_rate=12,
    compression=1.0,
    bottleneck=False,
    unit="relu-ic-conv",
    num_classes=10,
    input_shape=(32, 32, 3),
    rate=0.05,
    normalization="batch",
    momentum=0.99,
    epsilon=1e-3,
    use_bias=True,
    l2=1e-4,
):
    """DenseNet: each unit's channels are put beside all that came before in its stage; BC with both options.

    The published networks are of the unit "bn-relu-conv", or "bn relu conv dropout", and have no bias.

    Args:
        depth: int, 3n + 4, or 6n + 4 with `bottleneck`, transitions counted.
        growth_rate: int, k: the channels that a unit adds.
        compression: float, 0 < compression <= 1: the share of the channels that a transition keeps.
        bottleneck: whether a 1x1 conv to 4k channels comes before the 3x3 conv of a unit.
        unit, num_classes, input_shape, rate, normalization, momentum, epsilon, use_bias, l2: as in
            `models.cifar_resnet`.

    Returns:
        keras.Model: functional, images (batch, *input_shape), float, to logits (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    n = units_per_stage("densenet", depth, bottleneck)
    check_widths(growth_rate=growth_rate, compression=compression)
    convs = [*[convolution(4 * growth_rate, 1)] * bottleneck, convolution(growth_rate, 3)]
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image")
    x = layers.stem(inputs, "stem", **convolution(2 * growth_rate if bottleneck and compression < 1 else 16, 3))
    for stage in (1, 2, 3):
        if stage > 1:
            place = f"stage{stage}_transition"
            x = layers.weight_layer(x, place, **convolution(int(compression * x.shape[-1]), 1))
            halves = [min(2, size) for size in x.shape[1:3]]
            x = keras.layers.AveragePooling2D(halves, data_format="channels_last", name=f"{place}_pool")(x)
        for i in range(1, n + 1):
            x = layers.dense_unit(x, f"stage{stage}_unit{i}", convs)
    name = f"densenet{'_b' * bottleneck}{'_c' * (compression < 1)}_{depth}_{growth_rate}"
    return keras.Model(inputs, layers.head(x, num_classes), name=name)
