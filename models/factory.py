"""The one class that turns an ordering into the layers of a network."""

import random
import zlib

import keras

from iclayer import IC, Uout, normalization_layer
from iclayer.errors import require
from iclayer.fused import Dropout
from iclayer.layer import check_arguments
from models.grouped import GroupedConv2D
from models.units import Ordering

SHORTCUTS = ("projection", "projection-norm", "identity-pad")


def check_shortcut(shortcut):
    """Raises a ValueError for what is not one of `SHORTCUTS`."""
    require("shortcut", shortcut in SHORTCUTS, f"one of {', '.join(SHORTCUTS)}", f"{shortcut=}")


def convolution(filters, kernel_size, strides=1, **arguments):
    """The arguments of a Conv2D."""
    return {"filters": filters, "kernel_size": kernel_size, "strides": strides, **arguments}


def basic_convs(width, strides):
    """The convs of a residual unit of `width`: 3x3, 3x3 (He et al. 2016a, Fig. 5)."""
    return [convolution(width, 3, strides), convolution(width, 3)]


def bottleneck_convs(width, strides):
    """Those of a bottleneck: 1x1, 3x3, 1x1 with 4x channels."""
    return [convolution(width, 1, strides), convolution(width, 3), convolution(4 * width, 1)]


class LayerFactory:
    """Turns an ordering into layers of one network.

    Initial kernels and dropout masks depend on the seed (of `keras.utils.set_random_seed`) and the layer's name, so
    networks of different units start from equal conv kernels.

    Args:
        unit: a name of `UNITS`, or an ordering.
        rate, normalization, momentum, epsilon: as in `iclayer.IC`, for every `ic`, `bn`, `dropout` and `uout`.
        use_bias: whether the conv layers have a bias.
        l2: float, the L2 penalty on conv kernels.

    Raises:
        ValueError: an argument is not valid.
    """

    def __init__(self, unit, rate, normalization, momentum, epsilon, use_bias, l2):
        self.ordering = Ordering.parse(unit)
        check_arguments(rate, normalization, momentum, epsilon)
        self.rate = rate
        self.norm = {"normalization": normalization, "momentum": momentum, "epsilon": epsilon}
        self.use_bias = use_bias
        self.regularizer = keras.regularizers.L2(l2) if l2 else None
        self.seed = random.getrandbits(32)  # what keras.utils.set_random_seed seeds

    def _seed(self, name):
        return zlib.crc32(f"{self.seed}/{name}".encode()) >> 1  # PyTorch's seeds have 31 bits

    def _layer(self, kind, name, channels, conv):
        if kind == "relu":
            return keras.layers.ReLU(name=name)
        if kind == "bn":
            return normalization_layer(channels=channels, name=name, **self.norm)
        if kind == "dropout":
            return Dropout(self.rate, seed=self._seed(name), name=name)
        if kind == "uout":
            return Uout(self.rate, seed=self._seed(name), name=name)
        if kind == "ic":
            return IC(self.rate, seed=self._seed(name), name=name, **self.norm)
        layer = GroupedConv2D if "groups" in conv else keras.layers.Conv2D
        return layer(
            padding="same",
            data_format="channels_last",
            use_bias=self.use_bias,
            kernel_initializer=keras.initializers.HeNormal(self._seed(name)),  # He et al. 2015
            kernel_regularizer=self.regularizer,
            name=name,
            **conv,
        )

    def apply(self, tokens, x, place, index="", **conv):
        """Applies `tokens` to `x` as layers named `<place>_<token><index>`; `conv`: the arguments of Conv2D."""
        for kind, repeat in tokens:
            x = self._layer(kind, f"{place}_{kind}{index}{repeat}", x.shape[-1], conv)(x)
        return x

    def stem(self, x, place, index="", **conv):
        """conv, then what follows `conv` in the string."""
        first = self.ordering.first
        return self.apply(first.conv + first.after + first.waiting, x, place, index, **conv)

    def weight_layer(self, x, place, index="", **conv):
        """The whole string."""
        return self.apply(sum(self.ordering.first, ()), x, place, index, **conv)

    def branch(self, x, place, convs):
        """The string for each of `convs`; what waits for the last one is left to the caller."""
        for index, conv in enumerate(convs[:-1], 1):
            x = self.weight_layer(x, place, index, **conv)
        last = self.ordering.last
        return self.apply(last.before + last.conv + last.after, x, place, len(convs), **convs[-1])

    def stages(self, x, widths, counts, convs, shortcut):
        """Stages of residual units; each stage but the first halves height and width.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            widths: of each stage.
            counts: the number of units of each stage.
            convs: gives the convs of a unit, by its width and strides: `basic_convs`, `bottleneck_convs` or another.
            shortcut: one of `SHORTCUTS`.
        """
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True), 1):
            for i in range(1, count + 1):
                strides = 2 if stage > 1 and i == 1 else 1
                x = self.residual_unit(x, f"stage{stage}_unit{i}", convs(width, strides), strides, shortcut)
        return x

    def residual_unit(self, x, place, convs, strides, shortcut):
        """The string for each of `convs`, the addition, then what waited.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            place: str, the prefix of the layers' names, such as "stage1_unit3".
            convs: a list of dicts, the arguments of each Conv2D.
            strides: of all convs together.
            shortcut: one of `SHORTCUTS`, where shapes change.
        """
        filters = convs[-1]["filters"]
        branch = self.branch(x, place, convs)
        if strides != 1 or filters != x.shape[-1]:
            x = self._shortcut(x, f"{place}_shortcut", filters, strides, shortcut)
        x = keras.layers.Add(name=f"{place}_add")([x, branch])
        return self.apply(self.ordering.last.waiting, x, place, len(convs))

    def dense_unit(self, x, place, convs):
        """The string for each of `convs`, the concatenation with `x`, then what waited (Huang et al. 2017, eq. 2)."""
        x = keras.layers.Concatenate(name=f"{place}_concat")([x, self.branch(x, place, convs)])
        return self.apply(self.ordering.last.waiting, x, place, len(convs))

    def _shortcut(self, x, place, filters, strides, shortcut):
        first = self.ordering.first
        if shortcut == "identity-pad":  # option A of He et al. 2016a
            x = keras.layers.AveragePooling2D(1, strides, data_format="channels_last", name=f"{place}_subsample")(x)
            # Read as channels_first, (height, width, channels) is (channels, height, width): this pads the channels.
            pad = ((0, 0), (0, filters - x.shape[-1]))
            return keras.layers.ZeroPadding2D(pad, data_format="channels_first", name=f"{place}_pad")(x)
        tokens = first.conv
        if shortcut == "projection-norm":
            whole = first.before + first.conv + first.after
            tokens = tuple(token for token in whole if token.kind != "relu")
        return self.apply(tokens, x, place, filters=filters, kernel_size=1, strides=strides)

    def head(self, x, num_classes, regularizer=None):
        """What precedes `conv`, what stands behind `||` with global average pooling, then the logits in float32.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            num_classes: int.
            regularizer: of the kernel of the logits.
        """
        x = self.apply(self.ordering.first.before + self.ordering.unpooled, x, "head")
        x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="head_pool")(x)
        x = self.apply(self.ordering.pooled, x, "head")
        initializer = keras.initializers.HeNormal(self._seed("head_dense"))
        return keras.layers.Dense(
            num_classes,
            kernel_initializer=initializer,
            kernel_regularizer=regularizer,
            dtype="float32",
            name="head_dense",
        )(x)
