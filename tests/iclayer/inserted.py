"""Helpers of the tests of insert_ic."""

import keras
import numpy as np

import iclayer


def with_layer(layer, shape=(6, 4), dtype="float32"):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, layer(inputs))


def images(model, count=2):
    return np.random.default_rng(0).random((count, *model.input_shape[1:]), np.float32)


def outputs(model, values=None):
    return keras.ops.convert_to_numpy(model(images(model) if values is None else values, training=False))


def layers(model):
    """Those within models within it too."""
    for layer in model.layers:
        yield from layers(layer) if isinstance(layer, keras.Model) else [layer]


def make_identities(model):
    """Gives each IC the statistics with which it changes nothing."""
    for layer in layers(model):
        if isinstance(layer, iclayer.IC):
            layer.norm.moving_variance.assign(np.full(layer.norm.moving_variance.shape, 1 - layer.epsilon))
