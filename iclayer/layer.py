"""IC: normalization, then dropout, right before a weight layer (section 3)."""

import keras

from iclayer.errors import is_number, require
from iclayer.fused import BatchNormalization, Dropout, Uout

NORMALIZATIONS = ("batch", "layer", "group", "instance", "none")
NOISES = {"dropout": Dropout, "uout": Uout}


def check_arguments(rate=0.0, normalization="batch", momentum=0.99, epsilon=1e-3, noise="dropout"):
    """Raises a ValueError that names the first of the arguments that IC cannot take, what was expected and received."""
    known = isinstance(normalization, str) and normalization in NORMALIZATIONS
    require("rate", is_number(rate) and 0 <= rate < 1, "the fraction to drop, 0 <= rate < 1", f"{rate=}")
    require("normalization", known, f"one of {', '.join(NORMALIZATIONS)}", f"{normalization=}")
    require("momentum", is_number(momentum) and 0 <= momentum <= 1, "a float in [0, 1]", f"{momentum=}")
    require("epsilon", is_number(epsilon) and epsilon > 0, "a float above 0", f"{epsilon=}")
    require("noise", isinstance(noise, str) and noise in NOISES, f"one of {', '.join(NOISES)}", f"{noise=}")


def num_groups(channels):
    """Groups of group normalization: 32 (Wu & He 2018), fewer where a group would hold less than four channels.

    Always a divisor of `channels`.
    """
    most = max(1, min(32, channels // 4))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def normalization_layer(
    normalization, channels, momentum=0.99, epsilon=1e-3, axis=-1, center=True, scale=True, **kwargs
):
    """The Keras layer that does `normalization`.

    Args:
        normalization: "batch" (Ioffe & Szegedy 2015), "layer" (Ba et al. 2016; over the channels of each position, as
            `keras.layers.LayerNormalization` does), "group" (Wu & He 2018, see `num_groups`), "instance" (Ulyanov et
            al. 2016) or "none".
        channels: int, the size of `axis`.
        momentum: float, of the moving statistics; "batch" only.
        epsilon, axis, center, scale: as in `keras.layers.BatchNormalization`.
        **kwargs: `name`, `dtype` and what else every Keras layer takes.

    Returns:
        keras.layers.Layer: with `channels` scales and as many shifts; `keras.layers.Identity` for "none".

    Raises:
        ValueError: `normalization`, `momentum` or `epsilon` is not valid.
    """
    check_arguments(normalization=normalization, momentum=momentum, epsilon=epsilon)
    common = {"epsilon": epsilon, "axis": axis, "center": center, "scale": scale, **kwargs}
    if normalization == "batch":
        return BatchNormalization(momentum=momentum, **common)
    if normalization == "layer":
        return keras.layers.LayerNormalization(**common)
    if normalization == "none":
        return keras.layers.Identity(**kwargs)
    groups = channels if normalization == "instance" else num_groups(channels)
    return keras.layers.GroupNormalization(groups=groups, **common)


@keras.saving.register_keras_serializable(package="iclayer")
class IC(keras.layers.Layer):
    """Independent-Component layer: normalization, then dropout. Place it right before a weight layer.

    In training, each normalized activation is set to 0 with probability `rate` and the others are scaled by
    `1 / (1 - rate)`, so that the expectation stays. In inference, and with `rate=0`, the layer is exactly the
    normalization.

    Args:
        rate: float, 0 <= rate < 1, the fraction dropped. The paper's keep probability is p = 1 - rate.
        normalization: "batch" as in the paper, or one of its section 6: "layer", "group", "instance"; "none" leaves
            the noise alone. See `normalization_layer`.
        momentum: float, of the moving statistics; "batch" only.
        epsilon: float, added to the variance.
        axis: int, the axis of the channels.
        center: whether to learn a shift.
        scale: whether to learn a scale.
        seed: int, of the noise; None draws one.
        noise: "dropout" as in the paper, or "uout" in its place, whose β is `rate`: see `Uout`.
        **kwargs: `name`, `dtype` and what else every Keras layer takes.

    Raises:
        ValueError: an argument is not valid, or an input has no such `axis`, or no fixed number of channels.

    Examples:
        >>> x = keras.layers.Activation("relu")(x)
        >>> x = IC(rate=0.05)(x)
        >>> x = keras.layers.Conv2D(64, 3, padding="same")(x)

    Reference: Chen et al. 2019, arXiv 1905.05928, section 3 and Fig. 2.
    """

    def __init__(
        self,
        rate=0.05,
        normalization="batch",
        momentum=0.99,
        epsilon=1e-3,
        axis=-1,
        center=True,
        scale=True,
        seed=None,
        noise="dropout",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_arguments(rate, normalization, momentum, epsilon, noise)
        whole = isinstance(axis, int) and not isinstance(axis, bool)
        require("axis", whole and axis != 0, "an int, not 0", f"{axis=}")
        self.rate = rate
        self.normalization = normalization
        self.momentum = momentum
        self.epsilon = epsilon
        self.axis = axis
        self.center = center
        self.scale = scale
        self.seed = seed
        self.noise = noise
        self.supports_masking = True
        self.dropout = NOISES[noise](rate, seed=seed, dtype=self.dtype_policy, name=noise)

    def build(self, input_shape):
        rank = len(input_shape)
        spatial = self.normalization in ("group", "instance")
        if rank < (3 if spatial else 2) or not -rank < self.axis < rank:
            raise ValueError(
                f"IC(normalization={self.normalization!r}, axis={self.axis}) expected inputs of rank "
                f"{3 if spatial else 2} or more that have this axis beside the batch. Received: shape={input_shape}"
            )
        channels = input_shape[self.axis]
        if channels is None:
            raise ValueError(f"IC expected a fixed size of axis {self.axis}. Received: shape={input_shape}")
        self.norm = normalization_layer(
            self.normalization,
            channels,
            momentum=self.momentum,
            epsilon=self.epsilon,
            axis=self.axis,
            center=self.center,
            scale=self.scale,
            dtype=self.dtype_policy,
            name="norm",
        )
        self.norm.build(input_shape)

    def call(self, inputs, training=None, mask=None):
        """Normalizes, then adds the noise.

        Args:
            inputs: float tensor of rank 2 or more ("group" and "instance": 3 or more), of any dtype Keras computes in.
            training: whether to use the batch's statistics and the noise.
            mask: bool tensor of one rank less than `inputs`, or None; passed on, and "batch" leaves masked steps out.

        Returns:
            Tensor: of the shape of `inputs`, in the layer's compute dtype.
        """
        masked = {"mask": mask} if self.normalization == "batch" else {}
        return self.dropout(self.norm(inputs, training=training, **masked), training=training)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = super().get_config()
        names = ("rate", "normalization", "momentum", "epsilon", "axis", "center", "scale", "seed", "noise")
        return config | {name: getattr(self, name) for name in names}


def ic(x, rate=0.05, **kwargs):
    """The function of Fig. 2: a new IC layer, applied to `x`.

    Args:
        x: a tensor or a `keras.KerasTensor`, as IC takes.
        rate: float, 0 <= rate < 1, the fraction dropped.
        **kwargs: the other arguments of `IC`.

    Returns:
        Tensor: of the shape of `x`.
    """
    return IC(rate, **kwargs)(x)
