"""PyTorch: its batch normalization, and dropout with few random numbers."""

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


def _hashed(inputs, rate, seed):
    """Which of the activations are kept, by the hash of `masks`."""
    key, call = seed.to(torch.int64) & masks.WORD
    first, second = masks.philox(key, call, int, _product)
    z = torch.arange(inputs.numel(), device=inputs.device) + first & masks.WORD
    for added in (second, 0):
        for shift, factor in masks.MIX:
            _, z = _product(z ^ (z >> shift), factor)
        z = z ^ (z >> masks.LAST) ^ added
    return z >= masks.limit(rate)


def _drawn(inputs, rate, seed):
    """Which of the activations are kept, by 16 bits each of PyTorch's random numbers."""
    key, call = (word & masks.WORD for word in seed.tolist())
    first, second = masks.philox(key, call, int, _product)
    generator = torch.Generator(inputs.device).manual_seed(second << 32 | first)
    words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: inputs.numel()]
    least = math.floor(rate * 2**16 + second * 2**-32)  # `rate` on average over the calls
    return bits.to(torch.float32).ge_(least - 2**15)


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
    choose = _hashed if torch.compiler.is_compiling() or seed.is_meta else _drawn
    kept = choose(inputs, rate, seed).to(inputs.dtype)
    return inputs * kept.mul_(1 / (1 - rate)).view(inputs.shape)
