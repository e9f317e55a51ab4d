"""The variance shift that a network will have, from its weights and activations: nothing is drawn."""

import dataclasses
import math
import operator
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.activations import linear, relu

from iclayer import theory
from iclayer.errors import require
from iclayer.fused import Dropout, Uout
from iclayer.internals import layers_within, path_within, run_through
from iclayer.layer import IC
from iclayer.measures import Moments, batches_of, positions

NORMS = keras.layers.BatchNormalization
# What each of their outputs is: a sum of inputs, each times a number, and a number.
SUMS = (
    *(NORMS, keras.layers.Conv2D, keras.layers.Dense, keras.layers.Rescaling, keras.layers.Identity),
    *(keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D, keras.layers.ZeroPadding2D),
    *(keras.layers.Add, keras.layers.Concatenate),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Noisy:
    """Activations in inference, and their mean and variance over the noise of training: tensors of one shape."""

    x: Any
    mean: Any
    variance: Any


def predicted_shift(model, images, batch_size=64) -> dict[str, float]:
    """The variance shift that noise gives each batch normalization of a network (Li et al. 2018).

    The mean and the variance of each activation over the noise of training are followed through the network. The noise
    of all inputs of a layer is taken as independent, and that before a ReLU as Gaussian; batch normalizations normalize
    by their moving statistics. So it is exact where noise is followed by one weight layer at most, as
    `iclayer.theory.weighted_variance_ratio` is.

    Args:
        model: a functional `keras.Model` of one input, of 2D convolutions and dense layers without activations, IC,
            batch normalization, dropout, Uout, ReLU, addition, concatenation, zero padding, rescaling and average
            pooling.
        images: array (N, ...).
        batch_size: int, images a batch. The memory needed is three times that of a forward pass of a batch.

    Returns:
        For each batch normalization, by its name as `iclayer.diagnostics.diagnose` has it, the mean over channels of
        the variance of its input in training by that in inference, epsilon added to both.

    Raises:
        ValueError: the model is not functional, or has a batch normalization and a layer that is not of these, or an
            argument is not valid.
    """
    functional = isinstance(model, keras.Model) and isinstance(model, keras.Function) and len(model.inputs) == 1
    require("model", functional, "a functional `keras.Model` of one input", repr(model))
    require("images", np.ndim(images) and len(images), "an array of one image or more", f"shape {np.shape(images)}")
    require("batch_size", isinstance(batch_size, int) and batch_size > 0, "an int above 0", repr(batch_size))
    seen: dict[keras.layers.Layer, list[Moments]] = {}

    def call(layer, *args, **_):
        if isinstance(layer, IC):
            return call(layer.dropout, call(layer.norm, *args))
        known = len(args) == 1 and (_noise(layer) is not None or _rectifies(layer) or _sums(layer))
        require("model", known, "layers whose noise is known", f"layer {layer.name!r} ({type(layer).__name__})")
        parts = [keras.tree.map_structure(part, *args) for part in map(operator.attrgetter, ("x", "mean", "variance"))]
        if isinstance(layer, NORMS):
            for moments, part in zip(seen.setdefault(layer, [Moments() for _ in parts]), parts, strict=True):
                moments.add(positions(part, layer.axis))
        x, *noisy = parts
        return Noisy(layer(x), *(ops.cast(part, "float32") for part in _behind(layer, *noisy)))

    if any(isinstance(layer, NORMS) for layer in layers_within(model)):
        for batch in batches_of(images, batch_size):
            run_through(model, Noisy(batch, ops.cast(batch, "float32"), ops.zeros_like(batch, "float32")), call)
    return {
        path_within(model, layer): float(
            np.mean((mean.variance + variance.mean + layer.epsilon) / (x.variance + layer.epsilon))
        )
        for layer, (x, mean, variance) in seen.items()
    }


def _noise(layer):
    """The variance of the multipliers of a noise layer; None of others."""
    if type(layer) in (keras.layers.Dropout, Dropout) and layer.noise_shape is None:
        return theory.dropout_noise(1 - layer.rate)
    if type(layer) is Uout:
        return theory.uout_noise(layer.rate)
    return None


def _rectifies(layer):
    """Whether a layer is max(0, x)."""
    if isinstance(layer, keras.layers.ReLU):
        return (layer.negative_slope, layer.max_value, layer.threshold) == (0, None, 0)
    return isinstance(layer, keras.layers.Activation) and layer.activation is relu


def _sums(layer):
    """Whether a layer is of `SUMS`, and these are all that it does."""
    if isinstance(layer, keras.layers.AveragePooling2D) and layer.padding != "valid":  # fewer count at the border
        return False
    return isinstance(layer, SUMS) and getattr(layer, "activation", linear) is linear


def _behind(layer, mean, variance):
    """Mean and variance behind a layer, from those before it."""
    if (s := _noise(layer)) is not None:
        return mean, variance + s * (ops.square(mean) + variance)
    if _rectifies(layer):
        return _rectified(mean, variance)
    outputs = layer(mean)
    if isinstance(layer, keras.layers.Conv2D):
        return outputs, layer.convolution_op(variance, ops.square(layer.kernel))
    if isinstance(layer, keras.layers.Dense):
        return outputs, ops.matmul(variance, ops.square(layer.kernel))
    if isinstance(layer, NORMS):
        shape = [-1 if axis == layer.axis % len(mean.shape) else 1 for axis in range(len(mean.shape))]
        scale = ops.square(layer.gamma) if layer.scale else 1.0
        return outputs, variance * ops.reshape(scale / (layer.moving_variance + layer.epsilon), shape)
    if isinstance(layer, keras.layers.Rescaling):
        return outputs, variance * ops.square(layer.scale)
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        return outputs, layer(variance) * (math.prod(outputs.shape) / math.prod(mean.shape))
    if isinstance(layer, keras.layers.AveragePooling2D):
        return outputs, layer(variance) / math.prod(layer.pool_size)
    return outputs, layer(variance)


def _rectified(mean, variance):
    """Mean and variance of max(0, a Gaussian)."""
    deviation = ops.sqrt(ops.maximum(variance, 1e-20))
    ratio = mean / deviation
    share = (1 + ops.erf(ratio / math.sqrt(2))) / 2  # of it that is above 0
    density = deviation * ops.exp(-ops.square(ratio) / 2) / math.sqrt(2 * math.pi)
    rectified = mean * share + density
    square = (ops.square(mean) + variance) * share + mean * density
    return rectified, ops.maximum(square - ops.square(rectified), 0)
