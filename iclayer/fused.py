"""Batch normalization and dropout that train with fast kernels on TensorFlow; on other backends they are Keras' own.

Normalization is TensorFlow's fused kernel where Keras composes a chain of passes; dropout is one pass that computes its
mask where it is needed.
"""

import functools

import keras
import numpy as np

from iclayer import internals

# Sizes that dropout is compiled for where they vary: twice the one before, and a quarter more where running costs most.
SIZES = np.array(
    [*(2**k for k in range(16, 20)), *(m * 2**k for k in range(18, 29) for m in (4, 5, 6, 7)), 2**31 - 1], np.int32
)


@keras.saving.register_keras_serializable(package="iclayer")
class BatchNormalization(internals.BatchNormalization):
    """`keras.layers.BatchNormalization`, with TensorFlow's fused kernel in training where that fits.

    It fits channels_last inputs of rank 2 or more, of at most 32 bits, without a mask, and variables of float32; else
    this is Keras' own path. Both give the same outputs, gradients and moving statistics but for rounding: the moving
    variance is the batch's divided by n, as Keras has it, where the kernel divides by n - 1.

    A batch without elements, or with none that is not masked, leaves the moving statistics as they are, on every
    backend, where Keras' layer makes them NaN, or moves them to 0.
    """

    def call(self, inputs, training=None, mask=None):
        last = self.axis in (-1, len(inputs.shape) - 1)
        narrow = keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        single = self.variable_dtype == "float32"
        plain = mask is None and self.by_its_batch
        fits = last and narrow and single and plain and keras.backend.backend() == "tensorflow"
        training = training and self.trainable and 0 not in tuple(inputs.shape)
        return self._normalize(inputs) if training and fits else super().call(inputs, training=training, mask=mask)

    def _normalize(self, inputs):
        import tensorflow as tf

        channels, shape = inputs.shape[-1], tf.shape(inputs)
        x = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [shape[0], -1, 1, channels])
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        count = tf.cast(tf.size(x) // channels, tf.float32)
        biased = tf.maximum(count - 1, 1) / count  # Keras divides the variance by n, the kernel by n - 1
        out, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=self.moving_mean,
            variance=self.moving_variance / biased,
            epsilon=self.epsilon,
            exponential_avg_factor=1 - self.momentum,
            is_training=True,
        )
        variance *= biased
        if None in x.shape:
            some = count > 0
            mean, variance = tf.where(some, mean, self.moving_mean), tf.where(some, variance, self.moving_variance)
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        return out if len(inputs.shape) == 4 else tf.reshape(out, shape)


@keras.saving.register_keras_serializable(package="iclayer")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, in one pass on TensorFlow (see `drop`), and with a mask of its own on each replica.

    Its random numbers are a function of the layer's seed, its count of calls, and the activation's place; under
    `tf.distribute` also of the replica, where Keras' layer gives all replicas the same mask.
    """

    def call(self, inputs, training=False):
        if not training or keras.backend.backend() != "tensorflow" or self.noise_shape is not None or self.rate == 1:
            return super().call(inputs, training=training)
        return drop(inputs, self.rate, _of_replica(internals.next_seed(self))) if self.rate else inputs


def _of_replica(seed):
    """The seed of this replica's mask: the number of the call is counted over replicas too."""
    import tensorflow as tf

    replicas, context = tf.distribute.get_strategy().num_replicas_in_sync, tf.distribute.get_replica_context()
    if replicas == 1 or context is None:  # None: a model is being built
        return seed
    return seed * [1, replicas] + tf.stack([0, tf.cast(context.replica_id_in_sync_group, seed.dtype)])


def drop(inputs, rate, seed):
    """Inverted dropout whose mask is computed where it is needed, in the forward and in the backward pass.

    An activation is dropped where a hash of its place is below `rate`: the finalizer of MurmurHash3 (Appleby 2011),
    twice, with a random key before each. XLA makes one loop over the activations of it, on any device; no mask is
    stored, and no random number for it. XLA compiles for one size, so inputs whose size is not fixed in a graph are
    filled up to the next of `SIZES`, which changes no mask.

    Args:
        inputs: a float tensor of less than 2**31 elements.
        rate: float, 0 <= rate < 1, kept to 2**-32.
        seed: int64 tensor (2,): a key, and a number that no other call with this key has.

    Returns:
        A tensor of the shape and dtype of `inputs`.
    """
    import tensorflow as tf

    kernel = _kernel(inputs.dtype, rate)

    def masked(x):
        flat, size = tf.reshape(x, [-1]), x.shape.num_elements()
        if size is None:
            size = tf.size(x)
            enough = tf.gather(SIZES, tf.searchsorted(SIZES, [size])[0])
        elif tf.executing_eagerly() or not _has_kernel_of_its_own(size):
            enough = SIZES[np.searchsorted(SIZES, size)]
        else:
            enough = size
        return tf.reshape(kernel(tf.pad(flat, [[0, enough - size]]), seed)[:size], tf.shape(x))

    return tf.custom_gradient(lambda x: (masked(x), masked))(inputs)


@functools.cache
def _has_kernel_of_its_own(size):
    """Whether XLA compiles for exactly this size, fixed in a graph: for the first 64 of a process."""
    return _has_kernel_of_its_own.cache_info().currsize < 64


@functools.cache
def _kernel(dtype, rate):
    import tensorflow as tf

    def finalize(z):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint32(shift))) * np.uint32(factor)
        return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint32(16)))

    signature = [tf.TensorSpec([None], dtype), tf.TensorSpec([2], tf.int64)]

    @tf.function(input_signature=signature, jit_compile=True, autograph=False)
    def kernel(x, seed):
        seed = tf.bitcast(seed, tf.uint64)
        keys = tf.raw_ops.StatelessRandomUniformFullIntV2(  # Philox (Salmon et al. 2011)
            shape=[2], key=seed[:1], counter=seed * [0, 1], alg=1, dtype=tf.uint32
        )
        places = tf.cast(tf.range(tf.size(x)), tf.uint32)
        z = finalize(tf.bitwise.bitwise_xor(finalize(places + keys[0]), keys[1]))
        kept = z >= np.uint32(min(round(rate * 2**32), 2**32 - 1))
        return tf.where(kept, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))

    return kernel
