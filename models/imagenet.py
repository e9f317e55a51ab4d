"""ResNets for ILSVRC2012 (4.3; He et al. 2016a, table 1)."""

import keras

from iclayer.errors import require
from models.factory import LayerFactory, basic_convs, bottleneck_convs, check_shortcut, convolution

# Units of each stage, and their convs.
DEPTHS = {
    18: ((2, 2, 2, 2), basic_convs),
    34: ((3, 4, 6, 3), basic_convs),
    50: ((3, 4, 6, 3), bottleneck_convs),
    101: ((3, 4, 23, 3), bottleneck_convs),
    152: ((3, 8, 36, 3), bottleneck_convs),
}
MEAN = (0.485, 0.456, 0.406)  # of the training images' red, green and blue, scaled to [0, 1]


def check_depth(depth, stages):
    """Raises a ValueError where no network has this depth, or these stages."""
    require("depth", depth in DEPTHS, ", ".join(map(str, DEPTHS)), f"{depth=}")
    counts = stages is None or (len(stages) == 4 and min(stages) > 0)
    require("stages", counts, "None or a number of units, at least 1, for each of 4 stages", f"{stages=}")


def imagenet_resnet(
    depth=50,
    unit="relu-ic-conv",
    stages=None,
    num_classes=1000,
    input_shape=(224, 224, 3),
    rate=0.05,
    normalization="batch",
    momentum=0.9,
    epsilon=1e-5,
    shortcut="projection-norm",
    use_bias=False,
    l2=5e-5,
):
    """ResNet of basic units (depth 18, 34) or bottlenecks (50, 101, 152), widths 64 to 512.

    Args:
        depth: int, 18, 34, 50, 101 or 152.
        unit: a name of `models.UNITS`, or an ordering of one's own; "conv-ic-relu" and "li2018" are the others of 4.3.
        stages: the number of units of each of the four stages; None: those of He et al., for depth 50 (3, 4, 6, 3).
            The paper prints (3, 6, 4, 3).
        num_classes: int.
        input_shape: (height, width, 3).
        rate: float, 0 <= rate < 1, the fraction that every dropout drops.
        normalization, momentum, epsilon: as in `iclayer.IC`.
        shortcut: as in `models.cifar_resnet`.
        use_bias: whether conv layers have a bias.
        l2: float, the L2 penalty on the kernels. Its gradient is 2 l2 w, so 5e-5 is a weight decay of 1e-4.

    Returns:
        keras.Model: functional, images (batch, *input_shape), uint8 or float from 0 to 255, to logits
            (batch, num_classes), float32.

    Raises:
        ValueError: an argument is not valid.
    """
    check_depth(depth, stages)
    check_shortcut(shortcut)
    units, convs = DEPTHS[depth]
    layers = LayerFactory(unit, rate, normalization, momentum, epsilon, use_bias, l2)
    inputs = keras.Input(input_shape, name="image", dtype="uint8")
    x = keras.layers.Rescaling(1 / 255, [-mean for mean in MEAN], name="image_rescaling")(inputs)
    x = layers.stem(x, "stem", **convolution(64, 7, 2))
    x = keras.layers.MaxPooling2D(3, 2, padding="same", data_format="channels_last", name="stem_pool")(x)
    x = layers.stages(x, (64, 128, 256, 512), stages or units, convs, shortcut)
    return keras.Model(inputs, layers.head(x, num_classes, layers.regularizer), name=f"resnet_{depth}")
