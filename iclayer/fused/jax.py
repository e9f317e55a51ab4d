"""JAX: dropout that XLA fuses into what stands before and behind it. Batch normalization is Keras'."""

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


@functools.partial(jax.jit, static_argnames="rate")
def drop(inputs, rate, seed):
    """Inverted dropout whose mask is computed where it is needed, in the forward and in the backward pass.

    `jax.checkpoint` leaves nothing of it for the backward pass but two words, under every transformation; XLA may fuse
    the mask twice, for nothing is put between the passes. On several devices each computes its own part of the mask.

    Args:
        inputs: a float array of less than 2**31 elements.
        rate: float, 0 <= rate < 1.
        seed: uint32 array (2,): a key, and a number that no other call with this key has.

    Returns:
        An array of the shape and dtype of `inputs`.
    """

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def masked(x, keys):
        places = lax.iota(jnp.uint32, math.prod(x.shape)).reshape(x.shape)
        kept = _mix(_mix(places + keys[0]) ^ keys[1]) >= jnp.uint32(masks.limit(rate))
        return jnp.where(kept, x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype))

    key, call = seed
    return masked(inputs, masks.philox(key, call, jnp.uint32, _product))
