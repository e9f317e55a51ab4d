"""PyTorch: its batch normalization, and noise with few random numbers."""

import math

import torch

from iclayer.fused import masks


def normalize(inputs, gamma, beta, moving_mean, moving_variance, momentum, epsilon):
    """Batch normalization in training, over all axes but the last.

    Takes and gives what `normalize` of `iclayer/fused/tensorflow.py` does.
    """
    channels = inputs.shape[-1]
    x = inputs if inputs.ndim == 4 else inputs.reshape(inputs.shape[0], -1, 1, channels)
    moving_mean, moving_variance = moving_mean.value, moving_variance.value
    scale = torch.ones_like(moving_mean) if gamma is None else gamma.value
    shift = torch.zeros_like(moving_mean) if beta is None else beta.value
    x = x.permute(0, 3, 1, 2)  # a view, in the memory format channels_last
    outputs, mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, epsilon)
    variance = (inverse**-2 - epsilon).clamp(min=0)  # `inverse`: of the standard deviation, epsilon within
    moved = moving_mean.lerp(mean, 1 - momentum), moving_variance.lerp(variance, 1 - momentum)
    return outputs.permute(0, 2, 3, 1).reshape(inputs.shape), *moved


def _product(word, factor):
    # By halves of the factor: a compiler may take it that no signed number overflows.
    high, low = word * (factor >> 16), word * (factor & 0xFFFF)
    return high + (low >> 16) >> 16, ((high & 0xFFFF) << 16) + low & masks.WORD


def _one_loop(seed):
    """Whether what is computed of these words is compiled; eager, each operation of the hash would be a loop."""
    return torch.compiler.is_compiling() or seed.is_meta


def _hashed(inputs, seed):
    """The hash of `masks` of each activation, int64."""
    key, call = seed.to(torch.int64) & masks.WORD
    first, second = masks.philox(key, call, int, _product)
    z = torch.arange(inputs.numel(), device=inputs.device) + first & masks.WORD
    for added in (second, 0):
        for shift, factor in masks.MIX:
            _, z = _product(z ^ (z >> shift), factor)
        z = z ^ (z >> masks.LAST) ^ added
    return z


def _drawn(inputs, seed, dtype):
    """A random integer of `dtype` for each activation, of PyTorch's of 64 bits, and the second key."""
    key, call = (word & masks.WORD for word in seed.tolist())
    first, second = masks.philox(key, call, int, _product)
    generator = torch.Generator(inputs.device).manual_seed(second << 32 | first)
    words = torch.empty(-(-inputs.numel() * dtype.itemsize // 8), dtype=torch.int64, device=inputs.device)
    return words.random_(-(2**63), None, generator=generator).view(dtype)[: inputs.numel()], second


def drop(inputs, rate, seed):
    """Inverted dropout.

    Where it is compiled the mask is that of `masks`, in one loop. Eager, each operation of that would be a loop of its
    own: there a random number of 64 bits, of a generator that the keys seed, decides on four activations.

    Args:
        inputs: a float tensor of less than 2**31 elements.
        rate: float, 0 <= rate < 1.
        seed: int32 tensor (2,): a key, and a number that no other call with this key has.

    Returns:
        A tensor of the shape and dtype of `inputs`.
    """
    if _one_loop(seed):
        kept = _hashed(inputs, seed) >= masks.limit(rate)
    else:
        bits, key = _drawn(inputs, seed, torch.int16)
        least = math.floor(rate * 2**16 + key * 2**-32)  # `rate` on average over the calls
        kept = bits.to(torch.float32).ge_(least - 2**15)
    return inputs * kept.to(inputs.dtype).mul_(1 / (1 - rate)).view(inputs.shape)


def spread(inputs, rate, seed):
    """Uout of β = `rate`, 0 <= rate <= 1.

    As in `drop`, but that eager a random number of 64 bits is for two activations. Takes and gives what `drop` does.
    """
    words = (_hashed(inputs, seed) ^ 2**31) - 2**31 if _one_loop(seed) else _drawn(inputs, seed, torch.int32)[0]
    wide = torch.promote_types(inputs.dtype, torch.float32)
    factors = words.to(wide).mul_(rate * masks.UNIT).add_(1).view(inputs.shape)
    return (inputs * factors).to(inputs.dtype)
