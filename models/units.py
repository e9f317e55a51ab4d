"""Orderings: the table of units, and the one class that turns an ordering into layers.

An ordering is a string of the tokens `conv`, `bn`, `dropout`, `ic` (= `bn dropout`) and `relu`, read for every weight
layer of a network:

    stem   = conv, then what follows `conv` in the string
    branch = the whole string, once per weight layer; what stands behind `|` waits, for the branch's last weight layer,
             until after the addition
    head   = what precedes `conv` in the string, then pooling, then what stands behind `||`, then Dense
"""

import collections
import dataclasses
import random
import zlib
from typing import NamedTuple, Self

import keras

from iclayer import IC, normalization_layer
from iclayer.errors import require
from iclayer.fused import Dropout
from iclayer.layer import check_arguments

UNITS = {
    "baseline": "conv bn | relu",  # Fig. 3a, He et al. 2016a
    "relu-ic-conv": "relu ic conv",  # (1): Fig. 3b, 4.2
    "ic-conv-relu": "ic conv relu",  # (2): Fig. 3b, 4.2
    "conv-relu-ic": "conv relu ic",  # (3): Fig. 3b
    "bn-relu-conv": "bn relu conv",  # He et al. 2016b
    "relu-bn-conv": "relu bn conv",  # ablation: (1) without dropout
    "relu-dropout-conv": "relu dropout conv",  # ablation: (1) without BN
    "conv-ic-relu": "conv ic | relu",  # "IC before the activation", 4.3
    "conv-bn-relu-dropout": "conv bn | relu dropout",  # the practice of articles and answers
    "conv-dropout-bn-relu": "conv dropout bn | relu",  # the disharmony of Li et al. 2018
    "li2018": "conv bn | relu || dropout",  # dropout after all BN: Li et al. 2018, 4.3
}
TOKENS = ("conv", "bn", "dropout", "ic", "relu")
SHORTCUTS = ("projection", "projection-norm", "identity-pad")


def check_shortcut(shortcut):
    """Raises a ValueError for what is not one of `SHORTCUTS`."""
    require("shortcut", shortcut in SHORTCUTS, f"one of {', '.join(SHORTCUTS)}", f"{shortcut=}")


class Token(NamedTuple):
    """One token of an ordering; `repeat` tells a second `relu` in one string from the first."""

    kind: str
    repeat: str = ""


@dataclasses.dataclass(frozen=True)
class Ordering:
    """An ordering, parsed: the tokens before and after `conv`, behind `|` and behind `||`."""

    before: tuple[Token, ...]
    conv: tuple[Token, ...]
    after: tuple[Token, ...]
    waiting: tuple[Token, ...]
    pooled: tuple[Token, ...]

    @classmethod
    def parse(cls, unit: str) -> Self:
        """Reads a name of `UNITS`, or an ordering.

        Raises:
            ValueError: no network can be built from `unit`; the message says why.
        """

        def check(valid, why):
            expected = f"one of {', '.join(UNITS)}, or a string of {', '.join(TOKENS)}"
            examples = "such as 'relu ic conv' or 'conv bn | relu || dropout'"
            require("unit", valid, f"{expected} {examples}", f"{unit=}, {why}")

        check(isinstance(unit, str), "which is not a string")
        words = UNITS.get(unit, unit).split()
        for word in words:
            check(word in (*TOKENS, "|", "||"), f"where {word!r} is neither a unit nor a token")
        check(words.count("conv") == 1, f"which has `conv` {words.count('conv')} times, not once")
        for bar in ("|", "||"):
            check(words.count(bar) < 2, f"which has `{bar}` more than once")
        marks = [word for word in words if word in ("conv", "|", "||")]
        ordered = marks == [mark for mark in ("conv", "|", "||") if mark in marks]
        check(ordered, "where `conv`, `|` and `||` must come in this order")
        parts: dict[str, list[Token]] = {"before": [], "conv": [], "|": [], "||": []}
        place, seen = "before", collections.Counter[str]()
        for word in words:
            if word in parts:
                place = word
            if word in TOKENS:
                seen[word] += 1
                parts[place].append(Token(word, f"_{seen[word]}" if seen[word] > 1 else ""))
        conv, *after = parts["conv"]
        return cls(tuple(parts["before"]), (conv,), tuple(after), tuple(parts["|"]), tuple(parts["||"]))

    @property
    def drops(self) -> bool:
        """Whether any of it is dropout, so that a rate matters."""
        parts = (*self.before, *self.after, *self.waiting, *self.pooled)
        return any(token.kind in ("dropout", "ic") for token in parts)


class LayerFactory:
    """Turns an ordering into layers of one network.

    Initial kernels and dropout masks depend on the seed (of `keras.utils.set_random_seed`) and the layer's name, so
    networks of different units start from equal conv kernels.

    Args:
        unit: a name of `UNITS`, or an ordering.
        rate, normalization, momentum, epsilon: as in `iclayer.IC`, for every `ic`, `bn` and `dropout`.
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
        if kind == "ic":
            return IC(self.rate, seed=self._seed(name), name=name, **self.norm)
        return keras.layers.Conv2D(
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
        ordering = self.ordering
        return self.apply(ordering.conv + ordering.after + ordering.waiting, x, place, index, **conv)

    def weight_layer(self, x, place, index, **conv):
        """The whole string, but for what waits behind `|`."""
        ordering = self.ordering
        return self.apply(ordering.before + ordering.conv + ordering.after, x, place, index, **conv)

    def stages(self, x, widths, counts, bottleneck, shortcut):
        """Stages of residual units; each stage but the first halves height and width.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            widths: the filters of the 3x3 convs of each stage.
            counts: the number of units of each stage.
            bottleneck: whether units are 1x1, 3x3, 1x1 with 4x channels, not 3x3, 3x3.
            shortcut: one of `SHORTCUTS`.
        """
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True), 1):
            sizes = [(1, width), (3, width), (1, 4 * width)] if bottleneck else [(3, width), (3, width)]
            for i in range(1, count + 1):
                convs = [{"filters": filters, "kernel_size": size, "strides": 1} for size, filters in sizes]
                convs[0]["strides"] = 2 if stage > 1 and i == 1 else 1
                x = self.residual_unit(x, f"stage{stage}_unit{i}", convs, shortcut)
        return x

    def residual_unit(self, x, place, convs, shortcut):
        """The string for each of `convs`, the addition, then what waited.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            place: str, the prefix of the layers' names, such as "stage1_unit3".
            convs: a list of dicts, the arguments of each Conv2D; the first one holds the unit's strides.
            shortcut: one of `SHORTCUTS`, where shapes change.
        """
        filters, strides = convs[-1]["filters"], convs[0]["strides"]
        branch = x
        for index, conv in enumerate(convs, 1):
            waiting = self.ordering.waiting if index < len(convs) else ()
            branch = self.weight_layer(branch, place, index, **conv)
            branch = self.apply(waiting, branch, place, index)
        if strides != 1 or filters != x.shape[-1]:
            x = self._shortcut(x, f"{place}_shortcut", filters, strides, shortcut)
        x = keras.layers.Add(name=f"{place}_add")([x, branch])
        return self.apply(self.ordering.waiting, x, place, len(convs))

    def _shortcut(self, x, place, filters, strides, shortcut):
        ordering = self.ordering
        if shortcut == "identity-pad":  # option A of He et al. 2016a
            x = keras.layers.AveragePooling2D(1, strides, data_format="channels_last", name=f"{place}_subsample")(x)
            # Read as channels_first, (height, width, channels) is (channels, height, width): this pads the channels.
            pad = ((0, 0), (0, filters - x.shape[-1]))
            return keras.layers.ZeroPadding2D(pad, data_format="channels_first", name=f"{place}_pad")(x)
        tokens = ordering.conv
        if shortcut == "projection-norm":
            whole = ordering.before + ordering.conv + ordering.after
            tokens = tuple(token for token in whole if token.kind != "relu")
        return self.apply(tokens, x, place, filters=filters, kernel_size=1, strides=strides)

    def head(self, x, num_classes, regularizer=None):
        """What precedes `conv`, global average pooling, what stands behind `||`, then the logits in float32.

        Args:
            x: a `keras.KerasTensor` (batch, height, width, channels).
            num_classes: int.
            regularizer: of the kernel of the logits.
        """
        x = self.apply(self.ordering.before, x, "head")
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
