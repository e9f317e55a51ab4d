"""Batch normalization, dropout and Uout that train with the fastest kernels of the backend, in a file of its name.

Here is decided what they are taken for; all else is Keras' own. Only the file of a backend imports its package, and of
this one only `masks`, which says what noise is a function of.
"""

import importlib
from typing import Any

import keras
from keras import ops

from iclayer import internals
from iclayer.errors import is_number, require

_backend = keras.backend.backend()
_fast = _backend in ("tensorflow", "jax", "torch")
kernels: Any = importlib.import_module(f"{__name__}.{_backend}") if _fast else None


@keras.saving.register_keras_serializable(package="iclayer")
class BatchNormalization(internals.BatchNormalization):
    """`keras.layers.BatchNormalization`, with the backend's fused kernel in training where it has one and that fits.

    It fits channels_last inputs of rank 2 or more, of at most 32 bits, without a mask, and variables of float32; else
    this is Keras' own path. Both give the same outputs, gradients and moving statistics but for rounding: the moving
    variance is the batch's divided by n, as Keras has it.

    A batch without elements, or with none that is not masked, leaves the moving statistics as they are, on every
    backend, where Keras' layer makes them NaN, or moves them to 0.
    """

    def call(self, inputs, training=None, mask=None):
        last = self.axis in (-1, len(inputs.shape) - 1)
        narrow = keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        single = self.variable_dtype == "float32"
        plain = mask is None and self.by_its_batch
        training = training and self.trainable and 0 not in tuple(inputs.shape)
        if not (training and last and narrow and single and plain and hasattr(kernels, "normalize")):
            return super().call(inputs, training=training, mask=mask)
        moving = (self.moving_mean, self.moving_variance)
        outputs, *moved = kernels.normalize(inputs, self.gamma, self.beta, *moving, self.momentum, self.epsilon)
        for statistic, value in zip(moving, moved, strict=True):
            statistic.assign(value)
        return outputs


@keras.saving.register_keras_serializable(package="iclayer")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with masks that are cheap to compute.

    A mask is a function of the layer's seed, its count of calls, and the activation's place: on TensorFlow, JAX and
    compiled PyTorch the same one (see `masks`). Under `tf.distribute` it is also one of the replica, where Keras' layer
    gives all replicas the same mask.
    """

    def call(self, inputs, training=False):
        if not training or kernels is None or self.noise_shape is not None or self.rate == 1:
            return super().call(inputs, training=training)
        return kernels.drop(inputs, self.rate, internals.next_seed(self)) if self.rate else inputs


@keras.saving.register_keras_serializable(package="iclayer")
class Uout(keras.layers.Layer):
    """Uout: uniform noise in proportion to each activation.

    In training an activation x becomes x + x r, where r is uniform on [-β, β] and independent of all else: the
    expectation stays, and the second moment grows by the factor 1 + β²/3. In inference, and with `rate=0`, the layer is
    the identity. The noise depends on what a mask of `Dropout` depends on, so each replica has its own.

    Args:
        rate: float, 0 <= rate <= 1, the paper's β.
        seed: int, of the noise; None draws one.
        **kwargs: `name`, `dtype` and what else every Keras layer takes.

    Call arguments:
        inputs: float tensor of any shape.
        training: whether to add noise.

    Returns:
        Tensor: of the shape of `inputs`, in the layer's compute dtype.

    Raises:
        ValueError: `rate` or `seed` is not valid.

    Reference: Li et al. 2018, arXiv 1801.05134, where it is named Uout.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        require("rate", is_number(rate) and 0 <= rate <= 1, "the β of Uout, 0 <= rate <= 1", f"{rate=}")
        self.rate = rate
        self.seed = seed
        if rate:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        self.built = True

    def call(self, inputs, training=False):
        if not (training and self.rate):
            return inputs
        if kernels is not None:
            return kernels.spread(inputs, self.rate, internals.next_seed(self))
        wide = keras.backend.result_type(inputs.dtype, "float32")
        r = keras.random.uniform(ops.shape(inputs), -self.rate, self.rate, wide, self.seed_generator)
        return ops.cast(ops.multiply(inputs, 1 + r), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
