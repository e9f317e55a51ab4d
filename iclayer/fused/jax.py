"""JAX: noise that XLA fuses into what stands before and behind it. Batch normalization is Keras'."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from iclayer.fused import masks


def _product(word, factor):
    # By halves: `lax.mulhi` of JAX 0.10 cannot be compiled for several devices.
    (a, b), (c, d) = ((each >> 16, each & 0xFFFF) for each in (word, factor))
    middle = a * d + (b * d >> 16)
    other = b * c + (middle & 0xFFFF)
    return a * c + (middle >> 16) + (other >> 16), word * factor


def _mix(z):
    for shift, factor in masks.MIX:
        z = (z ^ (z >> shift)) * jnp.uint32(factor)
    return z ^ (z >> masks.LAST)


def drop(inputs, rate, seed):
    """Inverted dropout of the fraction `rate`, 0 <= rate < 1: see `_noisy`."""
    return _noisy(_dropped, inputs, rate, seed)


def spread(inputs, rate, seed):
    """Uout of β = `rate`, 0 <= rate <= 1: see `_noisy`."""
    return _noisy(_spread, inputs, rate, seed)


def _dropped(x, hashes, rate):
    kept = hashes >= jnp.uint32(masks.limit(rate))
    return jnp.where(kept, x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype))


def _spread(x, hashes, rate):
    wide = jnp.promote_types(x.dtype, jnp.float32)
    r = lax.bitcast_convert_type(hashes, jnp.int32).astype(wide) * jnp.asarray(rate * masks.UNIT, wide)
    return (x.astype(wide) * (1 + r)).astype(x.dtype)


@functools.partial(jax.jit, static_argnames=("noise", "rate"))
def _noisy(noise, inputs, rate, seed):
    """Noise that is computed where it is needed, in the forward and in the backward pass.

    `jax.checkpoint` leaves nothing of it for the backward pass but two words, under every transformation; XLA may fuse
    the noise twice, for nothing is put between the passes. On several devices each computes its own part of the noise.

    Args:
        noise: a function of activations, their hashes and `rate`, linear in the activations.
        inputs: a float array of less than 2**31 elements.
        rate: float.
        seed: uint32 array (2,): a key, and a number that no other call with this key has.

    Returns:
        An array of the shape and dtype of `inputs`.
    """

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def noisy(x, keys):
        places = lax.iota(jnp.uint32, math.prod(x.shape)).reshape(x.shape)
        return noise(x, _mix(_mix(places + keys[0]) ^ keys[1]), rate)

    key, call = seed
    return noisy(inputs, masks.philox(key, call, jnp.uint32, _product))
