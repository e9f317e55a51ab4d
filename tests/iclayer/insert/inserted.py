"""Helpers of the tests of insert_ic."""

import keras
import numpy as np
from graphs import Graph

import iclayer
from iclayer.weights import WEIGHT_LAYERS

L = keras.layers


@keras.saving.register_keras_serializable("tests")
class ClassToken(L.Layer):
    """Puts one token, which it learns, before the others, and adds a position to each."""

    def build(self, input_shape):
        self.token = self.add_weight((1, 1, input_shape[-1]), "random_normal")
        self.positions = self.add_weight((1, input_shape[1] + 1, input_shape[-1]), "random_normal")

    def call(self, inputs):
        token = keras.ops.repeat(self.token, keras.ops.shape(inputs)[0], axis=0)
        return keras.ops.concatenate([token, inputs], axis=1) + self.positions


REFUSED = (ClassToken, L.MultiHeadAttention, L.EinsumDense)  # where they are not kept


def vision_transformer():
    inputs = keras.Input((16, 16, 3))
    x = ClassToken(name="token")(L.Reshape((16, 12))(L.Conv2D(12, 4, 4)(inputs)))
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = L.Add()([x, L.MultiHeadAttention(2, 6, dropout=0.1)(y, value=y)])
        y = L.Dense(24, activation="gelu")(L.LayerNormalization()(x))
        x = L.Add()([x, L.Dense(12)(y)])
    x = L.EinsumDense("abc,cd->abd", (17, 8))(x)
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


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


def weight_layers(model):
    return [layer for layer in model.layers if isinstance(layer, WEIGHT_LAYERS)]


def check_rewritten(model, original, values, folder):
    """Each weight layer of a copy is behind an IC, which at rate 0 changes nothing yet; it trains, saves and loads."""
    assert [layer.name for layer in weight_layers(model)] == [layer.name for layer in weight_layers(original)]
    built = Graph(model)
    for layer in weight_layers(model):
        assert built.parents[layer.name] == [f"{layer.name}_ic"]
        assert built.kind[f"{layer.name}_ic"] == "ic"
    make_identities(model)
    expected = outputs(original, values)
    np.testing.assert_allclose(outputs(model, values), expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    before = [layer.get_weights()[0] for layer in weight_layers(model)]
    model.compile("sgd", "mse", run_eagerly=True)  # no time for tracing
    model.fit(values, np.eye(4), batch_size=4, verbose=0)
    assert all(np.any(layer.get_weights()[0] != old) for layer, old in zip(weight_layers(model), before, strict=True))
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(outputs(loaded, values), outputs(model, values))
    np.testing.assert_array_equal(outputs(original, values), expected)
