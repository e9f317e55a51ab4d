"""IC inserted into models: where it stands, what stays as it was, and what is refused."""

import keras
import numpy as np
import pytest

import iclayer
from iclayer.weights import WEIGHT_LAYERS

SIZE = (32, 32, 3)


def dense():
    inputs = keras.Input((7,))
    x = keras.layers.Dense(12, activation="relu")(inputs)
    x = keras.layers.BatchNormalization()(inputs=keras.layers.Lambda(lambda value: 2 * value)(x))
    return keras.Model(inputs, keras.layers.Dense(4)(inputs=keras.layers.Dropout(0.5)(x)))


def conv1d():
    inputs = keras.Input((20, 3))
    x = keras.layers.Conv1D(8, 3, padding="causal")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.SeparableConv1D(8, 3)(x) + keras.layers.DepthwiseConv1D(3)(x)
    return keras.Model(inputs, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling1D()(x)))


def application(name):
    return lambda: getattr(keras.applications, name)(weights=None, input_shape=SIZE, classes=4)


NETWORKS = {
    "ResNet50": application("ResNet50"),
    "MobileNetV2": application("MobileNetV2"),
    "VGG16": application("VGG16"),
    "EfficientNetB0": application("EfficientNetB0"),
    "dense": dense,
    "conv1d": conv1d,
}


def weight_layers(model):
    return [layer for layer in model.layers if isinstance(layer, WEIGHT_LAYERS)]


def images(model, count=2):
    return np.random.default_rng(0).random((count, *model.input_shape[1:]), np.float32)


def outputs(model, values=None):
    return keras.ops.convert_to_numpy(model(images(model) if values is None else values))


def make_identities(model):
    """Gives each IC the statistics with which it changes nothing."""
    for layer in model.layers:
        if isinstance(layer, iclayer.IC):
            layer.norm.moving_variance.assign(np.full(layer.norm.moving_variance.shape, 1 - layer.epsilon))


@pytest.fixture(params=NETWORKS)
def original(request):
    keras.utils.set_random_seed(0)
    model = NETWORKS[request.param]()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.random.default_rng(1).normal(0, 0.1, layer.moving_mean.shape))
    return model


def test_every_network_gets_ics_that_change_nothing_yet_and_then_trains_saves_and_loads(original, tmp_path):
    model = iclayer.insert_ic(original, rate=0.0)
    assert (model.name, model.input_shape, model.output_shape) == (
        original.name,
        original.input_shape,
        original.output_shape,
    )
    assert [layer.name for layer in weight_layers(model)] == [layer.name for layer in weight_layers(original)]
    for layer in weight_layers(model):
        assert isinstance(layer.input._keras_history.operation, iclayer.IC)
        assert layer.input._keras_history.operation.name == f"{layer.name}_ic"
    make_identities(model)
    expected = outputs(original)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs(model), expected, rtol=0, atol=1e-5 * scale)

    before = [layer.get_weights()[0] for layer in weight_layers(model)]
    model.compile("sgd", "mse", run_eagerly=True)  # no time for tracing
    model.fit(images(model, 4), np.eye(4), batch_size=4, verbose=0)
    assert all(np.any(layer.get_weights()[0] != old) for layer, old in zip(weight_layers(model), before, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    np.testing.assert_array_equal(outputs(loaded), outputs(model))
    np.testing.assert_array_equal(outputs(original), expected)


@pytest.mark.parametrize("name", ["MobileNetV2", "dense", "conv1d"])
def test_batch_norms_are_left_out_on_request_and_weights_stay(name):
    original = NETWORKS[name]()
    model = iclayer.insert_ic(original, rate=0.2, replace_norm=True)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    for layer in weight_layers(model):
        ic = layer.input._keras_history.operation
        assert isinstance(ic, iclayer.IC)
        assert ic.rate == 0.2
        for new, old in zip(layer.get_weights(), original.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)


def test_models_within_models_sequential_ones_and_shared_layers_are_rewritten():
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, padding="same")], name="inner")
    shared = keras.layers.Conv2D(4, 1, name="shared")
    inputs = [keras.Input((8, 8, 4)), keras.Input((8, 8, 4))]
    x = keras.layers.Concatenate()([inner(shared(inputs[0])), shared(inputs[1])])
    original = keras.Model(inputs, keras.layers.Dense(2, name="head")(keras.ops.mean(x, axis=(1, 2))))
    model = iclayer.insert_ic(original, rate=0.0)
    names = [layer.name for layer in model.layers if isinstance(layer, iclayer.IC)]
    assert sorted(names) == ["head_ic", "shared_ic"]
    assert [type(layer) for layer in model.get_layer("inner").layers[1:]] == [iclayer.IC, keras.layers.Conv2D]
    make_identities(model)
    make_identities(model.get_layer("inner"))
    values = [np.random.default_rng(i).random((3, 8, 8, 4), np.float32) for i in range(2)]
    np.testing.assert_allclose(outputs(model, values), outputs(original, values), rtol=0, atol=1e-6)


def test_a_weight_layer_behind_an_ic_gets_no_other():
    once = iclayer.insert_ic(conv1d())
    twice = iclayer.insert_ic(once)
    assert [layer.name for layer in twice.layers] == [layer.name for layer in once.layers]


def test_channels_are_found_where_they_are():
    inputs = keras.Input((3, 9, 9))
    x = keras.layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    model = iclayer.insert_ic(keras.Model(inputs, x))
    assert model.layers[1].norm.gamma.shape == (3,)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def with_layer(layer, shape=(6, 4)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("model", "received"),
    [
        (Subclassed, "<Subclassed"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "<Sequential"),
        (lambda: "ResNet50", "'ResNet50'"),
        (lambda: keras.Sequential([keras.Input((2,)), Subclassed()]), "<Subclassed"),
        (lambda: with_layer(keras.layers.LSTM(3, name="memory")), r"layer 'memory' \(LSTM\) with memory.*\(4, 12\)"),
        (lambda: with_layer(keras.layers.TimeDistributed(keras.layers.Dense(3), name="each")), "layer 'each'"),
        (lambda: with_layer(keras.layers.Bidirectional(keras.layers.GRU(3), name="both")), "layer 'both'"),
        (lambda: with_layer(keras.layers.EinsumDense("abc,cd->abd", (6, 3), name="sum")), "layer 'sum'"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_name(model, received):
    with pytest.raises(ValueError, match=rf"argument `model`\. Expected .* Received: {received}"):
        iclayer.insert_ic(model())
