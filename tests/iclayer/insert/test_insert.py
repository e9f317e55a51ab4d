"""IC inserted into models: where it stands, what stays as it was, and what is refused."""

import tempfile

import keras
import numpy as np
import pytest
from graphs import Graph
from inserted import (
    REFUSED,
    check_rewritten,
    images,
    layers,
    make_identities,
    outputs,
    vision_transformer,
    weight_layers,
    with_layer,
)

import iclayer

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


def application(name, size=SIZE):
    """With logits: a softmax would hide what differs."""
    return lambda: getattr(keras.applications, name)(
        weights=None, input_shape=size, classes=4, classifier_activation=None
    )


NETWORKS = {
    "ResNet50": application("ResNet50"),
    "MobileNetV2": application("MobileNetV2"),
    "VGG16": application("VGG16"),
    "EfficientNetB0": application("EfficientNetB0"),
    "dense": dense,
    "conv1d": conv1d,
    "vision transformer": vision_transformer,
}


def spread(model):
    """Gives every scale, shift, bias and statistic a value of its own."""
    values = np.random.default_rng(1)
    for layer in layers(model):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.adapt(values.normal(0.2, 0.5, (2, *layer.input.shape[1:])))
        else:
            weights = layer.get_weights()
            layer.set_weights([values.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in weights])
    return model


@pytest.fixture(params=NETWORKS)
def original(request):
    keras.utils.set_random_seed(0)
    return spread(NETWORKS[request.param]())


@pytest.mark.filterwarnings("ignore:Kept")
def test_every_network_gets_ics_that_change_nothing_yet_and_then_trains_saves_and_loads(original, tmp_path):
    model = iclayer.insert_ic(original, rate=0.0, keep={type(layer) for layer in original.layers} & {*REFUSED})
    assert (model.name, model.input_shape, model.output_shape) == (
        original.name,
        original.input_shape,
        original.output_shape,
    )
    check_rewritten(model, original, images(original, 4), tmp_path)


FAMILIES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50V2": 32,
    "Xception": 71,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_other_families_of_keras_keep_their_weights_and_statistics(name):
    """In what the 120th layer gives: until there they have every kind of layer that they have before pooling."""
    keras.utils.set_random_seed(0)
    whole = application(name, (FAMILIES[name], FAMILIES[name], 3))()
    original = spread(keras.Model(whole.input, whole.layers[:121][-1].output))
    kinds, sampled = ({type(layer).__name__ for layer in layers(each)} for each in (whole, original))
    assert kinds - sampled <= {"GlobalAveragePooling2D", "Flatten", "Dropout", "Dense"}
    model = iclayer.insert_ic(original, rate=0.0)
    make_identities(model)
    expected = outputs(original)
    np.testing.assert_allclose(outputs(model), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_disk_that_takes_no_file_is_no_fault_of_the_model(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        iclayer.insert_ic(dense())


def test_a_lambda_knows_the_names_around_it():
    original = with_layer(keras.layers.Lambda(lambda inputs: np.float32(2) * keras.ops.relu(inputs)))
    np.testing.assert_array_equal(outputs(iclayer.insert_ic(original)), outputs(original))


def test_the_copy_of_a_compiled_model_is_not_compiled():
    original = dense()
    original.compile("sgd", lambda labels, outputs: keras.ops.mean((labels - outputs) ** 2))
    assert not iclayer.insert_ic(original).compiled
    assert not iclayer.insert_ic(with_layer(original, (7,))).get_layer(original.name).compiled


class Scaled(keras.Model):
    """Trains in a way of its own."""

    def compute_loss(self, *args, **kwargs):
        return 2 * super().compute_loss(*args, **kwargs)


class Sized(Scaled):
    """Cannot be called as `keras.Model` can."""

    def __init__(self, size):
        inputs = keras.Input((size,))
        super().__init__(inputs, keras.layers.Dense(2)(inputs))


def test_the_copy_is_of_the_class_of_the_model_where_that_can_be():
    plain = dense()
    original = Scaled(plain.input, plain.output)
    original.compile("sgd", "mse")
    assert type(iclayer.insert_ic(original)) is Scaled
    assert type(iclayer.insert_ic(plain)) is type(iclayer.insert_ic(Sized(3))) is type(plain)


def test_a_layer_that_a_model_shares_with_one_within_it_stays_one():
    shared, inner = keras.layers.Conv2D(4, 3, padding="same", name="shared"), keras.Input((8, 8, 4))
    inner = keras.Model(inner, shared(inner), name="inner")
    inputs = keras.Input((8, 8, 4))
    model = iclayer.insert_ic(keras.Model(inputs, inner(shared(inputs))))
    assert model.get_layer("inner").get_layer("shared") is model.get_layer("shared")
    assert model.get_layer("inner").get_layer("shared_ic") is model.get_layer("shared_ic")


@pytest.mark.parametrize("name", ["MobileNetV2", "dense", "conv1d"])
def test_batch_norms_are_left_out_on_request_and_weights_stay(name):
    original = NETWORKS[name]()
    model = iclayer.insert_ic(original, rate=0.2, replace_norm=True)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    for layer in weight_layers(model):
        (parent,) = Graph(model).parents[layer.name]
        assert model.get_layer(parent).rate == 0.2
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
    values = [np.random.default_rng(i).random((3, 8, 8, 4), np.float32) for i in range(2)]
    np.testing.assert_allclose(outputs(model, values), outputs(original, values), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_sequential_model_takes_what_it_took():
    original = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
    assert outputs(iclayer.insert_ic(original), images(original)).shape == (2, 2)


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


def deep():
    inputs = x = keras.Input((2,))
    layer = keras.layers.Dense(2)
    for _ in range(600):
        x = layer(x)
    return keras.Model(inputs, x, name="deep")


class Unsaved(keras.layers.Layer):
    """Has an argument that is in no configuration."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return inputs


class Unloaded(keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight((1,))

    def call(self, inputs):
        return self.scale * inputs

    def load_own_variables(self, store):
        raise KeyError("no scale")


@pytest.mark.parametrize(
    ("model", "received"),
    [
        (Subclassed, "<Subclassed"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "<Sequential"),
        (lambda: "ResNet50", "'ResNet50'"),
        (lambda: keras.Sequential([keras.Input((2,)), Subclassed()]), r"layer 'subclassed\w*' \(Subclassed\)"),
        (lambda: with_layer(keras.layers.LSTM(3, name="memory")), r"layer 'memory' \(LSTM\) with memory.*\(4, 12\)"),
        (lambda: with_layer(keras.layers.TimeDistributed(keras.layers.Dense(3), name="each")), "layer 'each'"),
        (lambda: with_layer(keras.layers.Bidirectional(keras.layers.GRU(3), name="both")), "layer 'both'"),
        (lambda: with_layer(keras.layers.EinsumDense("abc,cd->abd", (6, 3), name="sum")), "layer 'sum'"),
        (deep, "<Functional name=deep, built=True> and its ICs"),
        (lambda: with_layer(Unsaved(np.negative, name="mine")), r"layer 'mine' \(Unsaved\), NotImplementedError: .*"),
        (
            lambda: with_layer(Unloaded(name="mine")),
            "the state of its layers, ValueError: .*<Unloaded name=mine, .*no scale",
        ),
    ],
)
def test_what_cannot_be_rewritten_is_refused_by_name_in_one_line(model, received):
    with pytest.raises(ValueError, match=rf"argument `model`\. Expected .* Received: {received}") as refused:
        iclayer.insert_ic(model())
    assert "\n" not in str(refused.value)
