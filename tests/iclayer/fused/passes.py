"""Calls of a layer in training, and their gradients, on any backend; values go in and come out as NumPy's."""

import importlib

import keras
import numpy as np
import pytest

from iclayer.fused import Dropout, Uout

BACKEND = keras.backend.backend()
DEVIATIONS = {Dropout: lambda rate: np.sqrt(rate / (1 - rate)), Uout: lambda rate: rate / np.sqrt(3)}  # of their noise
FACTORS = {  # by the words of `masks`
    Dropout: lambda words, rate: np.where(words < rate * 2**32 - 0.5, 0, 1 / (1 - rate)),
    Uout: lambda words, rate: 1 + rate * words.view("int32") / 2.0**31,
}


def only(backend):
    """The package of the backend; the tests of a module that asks for another one are left out."""
    if backend != BACKEND:
        pytest.skip(f"of {backend}", allow_module_level=True)
    return importlib.import_module(backend)


def array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def gradients(function, *tensors):
    """Of a scalar, with respect to each tensor; may be derived again."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            scalar = function(*tensors)
        return tape.gradient(scalar, tensors)
    if BACKEND == "jax":
        import jax

        return jax.jit(jax.grad(function, tuple(range(len(tensors)))))(*tensors)
    import torch

    tensors = [tensor if tensor.requires_grad else tensor.detach().requires_grad_() for tensor in tensors]
    return torch.autograd.grad(function(*tensors), tensors, create_graph=True)


def function(layer):
    """The layer in training as a function of its inputs and trainable variables, and these variables."""
    trained, others = (
        [variable.value for variable in variables]
        for variables in (layer.trainable_variables, layer.non_trainable_variables)
    )

    def call(x, *trained):
        return layer.stateless_call(trained, others, x, training=True)

    return call, trained


def both(layer, x, gradient):
    """Output, gradients of the inputs and variables, and moving statistics of one call, all float64."""
    call, trained = function(layer)
    x = keras.ops.cast(x, layer.compute_dtype)
    gradient = keras.ops.convert_to_tensor(gradient)

    def scalar(*inputs):
        return keras.ops.sum(keras.ops.cast(call(*inputs)[0], gradient.dtype) * gradient)

    outputs, others = call(x, *trained)
    names = [variable.path for variable in layer.non_trainable_variables]
    moving = [value for name, value in zip(names, others, strict=True) if "moving" in name]
    return [array(value) for value in (outputs, *gradients(scalar, x, *trained), *moving)]


def hashed(shape, seed, call):
    """The words of `masks`, in NumPy."""
    words, key = np.array([0, 0, call, 0], "uint64"), np.array([seed, 0], "uint64")
    for _ in range(10):
        products = words[[0, 2]] * np.array([0xD2511F53, 0xCD9E8D57], "uint64")
        high, low = products >> np.uint64(32), products & np.uint64(0xFFFFFFFF)
        words = np.array([high[1] ^ words[1] ^ key[0], low[1], high[0] ^ words[3] ^ key[1], low[0]])
        key = (key + np.array([0x9E3779B9, 0xBB67AE85], "uint64")) & np.uint64(0xFFFFFFFF)
    z = np.arange(np.prod(shape, dtype=int), dtype="uint32") + np.uint32(words[0])
    for added in (np.uint32(words[1]), np.uint32(0)):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            z = (z ^ (z >> np.uint32(shift))) * np.uint32(factor)
        z = (z ^ (z >> np.uint32(16))) ^ added
    return z.reshape(shape)


def reference(kind, rate, shape, seed, call):
    """What a call of a layer of noise multiplies by, as `masks` says."""
    return FACTORS[kind](hashed(shape, seed, call), rate)


def noise(layer, shape, dtype="float32"):
    """What a call of a layer of noise multiplies by."""
    return array(layer(keras.ops.ones(shape, dtype), training=True))


def calls(kind, rate, shape, count, seed=0):
    """The noise of `count` calls, (count, *shape)."""
    layer = kind(rate, seed=seed)
    return np.stack([noise(layer, shape) for _ in range(count)])
