"""Calls of a layer in training, and their gradients, on any backend; values go in and come out as NumPy's."""

import importlib

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


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


def reference(rate, shape, seed, call):
    """What `masks` says that is dropped, in NumPy."""
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
    return (z < rate * 2**32 - 0.5).reshape(shape)


def dropped(layer, shape, dtype="float32"):
    """What a call of a dropout drops, as a bool array."""
    return array(layer(keras.ops.ones(shape, dtype), training=True)) == 0
