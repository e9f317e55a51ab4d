"""TensorFlow: its fused batch normalization, and noise in one loop that XLA makes."""

import functools

import numpy as np
import tensorflow as tf

from iclayer.fused import masks

# Sizes that noise is compiled for where they vary: twice the one before, and a quarter more where running costs most.
SIZES = np.array(
    [*(2**k for k in range(16, 20)), *(m * 2**k for k in range(18, 29) for m in (4, 5, 6, 7)), 2**31 - 1], np.int32
)


def normalize(inputs, gamma, beta, moving_mean, moving_variance, momentum, epsilon):
    """Batch normalization in training, over all axes but the last.

    Args:
        inputs: float tensor (..., channels) of at most 32 bits.
        gamma, beta: float32 (channels,), or None.
        moving_mean, moving_variance: float32 (channels,).
        momentum, epsilon: floats, as of `keras.layers.BatchNormalization`.

    Returns:
        tuple: the outputs, of the shape and dtype of `inputs`, and the new moving mean and variance.
    """
    channels, shape = inputs.shape[-1], tf.shape(inputs)
    x = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [shape[0], -1, 1, channels])
    count = tf.cast(tf.size(x) // channels, tf.float32)
    biased = tf.maximum(count - 1, 1) / count  # Keras divides the variance by n, the kernel by n - 1
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.ones([channels]) if gamma is None else tf.convert_to_tensor(gamma),
        offset=tf.zeros([channels]) if beta is None else tf.convert_to_tensor(beta),
        mean=moving_mean,
        variance=moving_variance / biased,
        epsilon=epsilon,
        exponential_avg_factor=1 - momentum,
        is_training=True,
    )
    variance *= biased
    if None in x.shape:
        some = count > 0
        mean, variance = tf.where(some, mean, moving_mean), tf.where(some, variance, moving_variance)
    return outputs if len(inputs.shape) == 4 else tf.reshape(outputs, shape), mean, variance


def drop(inputs, rate, seed):
    """Inverted dropout of the fraction `rate`, 0 <= rate < 1: see `_noisy`."""
    return _noisy(_dropped, inputs, rate, seed)


def spread(inputs, rate, seed):
    """Uout of β = `rate`, 0 <= rate <= 1: see `_noisy`."""
    return _noisy(_spread, inputs, rate, seed)


def _dropped(x, hashes, rate):
    kept = hashes >= np.uint32(masks.limit(rate))
    return tf.where(kept, x * tf.constant(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))


def _spread(x, hashes, rate):
    wide = tf.float64 if x.dtype == tf.float64 else tf.float32
    r = tf.cast(tf.bitcast(hashes, tf.int32), wide) * tf.constant(rate * masks.UNIT, wide)
    return tf.cast(tf.cast(x, wide) * (1 + r), x.dtype)


def _noisy(noise, inputs, rate, seed):
    """Noise that is computed where it is needed, in the forward and in the backward pass.

    XLA makes one loop over the activations of it, on any device; no noise is stored, and no random number for it. XLA
    compiles for one size, so inputs whose size is not fixed in a graph are filled up to the next of `SIZES`, which
    changes no noise. Under `tf.distribute` each replica has noise of its own.

    Args:
        noise: a function of activations, their hashes and `rate`, linear in the activations.
        inputs: a float tensor of less than 2**31 elements.
        rate: float.
        seed: int64 tensor (2,): a key, and a number that no other call with this key has.

    Returns:
        A tensor of the shape and dtype of `inputs`.
    """
    kernel, seed = _kernel(noise, inputs.dtype, rate), _of_replica(seed)

    def noisy(x):
        flat, size = tf.reshape(x, [-1]), x.shape.num_elements()
        if size is None:
            size = tf.size(x)
            enough = tf.gather(SIZES, tf.searchsorted(SIZES, [size])[0])
        elif tf.executing_eagerly() or not _has_kernel_of_its_own(size):
            enough = SIZES[np.searchsorted(SIZES, size)]
        else:
            enough = size
        return tf.reshape(kernel(tf.pad(flat, [[0, enough - size]]), seed)[:size], tf.shape(x))

    return tf.custom_gradient(lambda x: (noisy(x), noisy))(inputs)


def _of_replica(seed):
    """The seed of this replica's noise: the number of the call is counted over replicas too."""
    replicas, context = tf.distribute.get_strategy().num_replicas_in_sync, tf.distribute.get_replica_context()
    if replicas == 1 or context is None:  # None: a model is being built
        return seed
    return seed * [1, replicas] + tf.stack([0, tf.cast(context.replica_id_in_sync_group, seed.dtype)])


@functools.cache
def _has_kernel_of_its_own(size):
    """Whether XLA compiles for exactly this size, fixed in a graph: for the first 64 of a process."""
    return _has_kernel_of_its_own.cache_info().currsize < 64


@functools.cache
def _kernel(noise, dtype, rate):
    def mix(z):
        for shift, factor in masks.MIX:
            z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint32(shift))) * np.uint32(factor)
        return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, np.uint32(masks.LAST)))

    signature = [tf.TensorSpec([None], dtype), tf.TensorSpec([2], tf.int64)]

    @tf.function(input_signature=signature, jit_compile=True, autograph=False)
    def kernel(x, seed):
        seed = tf.bitcast(seed, tf.uint64)
        keys = tf.raw_ops.StatelessRandomUniformFullIntV2(  # alg 1: Philox, with both words of the seed
            shape=[2], key=seed[:1], counter=seed * [0, 1], alg=1, dtype=tf.uint32
        )
        places = tf.cast(tf.range(tf.size(x)), tf.uint32)
        return noise(x, mix(tf.bitwise.bitwise_xor(mix(places + keys[0]), keys[1])), rate)

    return kernel
