"""Diagnostics of every kind of layer: where its channels are, its gradients, and what is said of those not measured."""

import re

import keras
import numpy as np
import pytest
from diagnosed import COUNT, LOSS, gaussian, network, of

from iclayer import diagnostics, weights
from iclayer.diagnostics import diagnose

of_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients need TensorFlow")


@of_tensorflow
def test_relu_inputs_are_nonnegative_and_their_gradients_of_one_sign():
    inputs, labels = gaussian(np.eye(8)), np.arange(COUNT) % 3
    frame = diagnose(network(keras.layers.ReLU()), inputs, labels, loss=LOSS)
    assert of(frame, "training")["nonnegative"] == 1
    assert of(frame, "training")["one_sign"] == 1
    small = network(channels=3)
    frame = diagnose(small, inputs[:, :3], labels, loss=LOSS)
    first = inputs[: diagnostics.GRADIENTS, :3]
    assert of(frame, "training")["one_sign"] == (np.all(first > 0, 1) | np.all(first < 0, 1)).mean()


def share_of_one_sign(model, name, incoming, images):
    """By the gradients of each sample alone; the labels are 0, 1, 2, 0 ..."""
    import tensorflow

    shares = []
    for i, image in enumerate(images[: diagnostics.GRADIENTS]):
        with tensorflow.GradientTape() as tape:
            value = LOSS(np.array([i % 3]), model(image[None]))
        gradient = tape.gradient(value, model.get_layer(name).weights[0].value).numpy()
        some = np.any(gradient != 0, axis=incoming)
        shares += list((np.all(gradient >= 0, axis=incoming) | np.all(gradient <= 0, axis=incoming))[some])
    return np.mean(shares)


@of_tensorflow
def test_gradients_of_convolutions_are_those_of_each_sample_alone():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(5, 2, activation="relu", name="conv")(inputs)
    x = keras.layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = keras.layers.SeparableConv2D(4, 2, name="separable")(x)
    x = keras.layers.Conv2DTranspose(3, 2, name="transposed")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).standard_normal((8, 6, 6, 2)).astype(np.float32)
    frame = diagnose(model, images, np.arange(8) % 3, loss=LOSS)
    incoming = {"conv": (0, 1, 2), "depthwise": (0, 1), "separable": (0, 1), "transposed": (0, 1, 3), "last": (0,)}
    for name, axes in incoming.items():
        assert of(frame, "training", name)["one_sign"] == pytest.approx(share_of_one_sign(model, name, axes, images))


@of_tensorflow
def test_neurons_of_transposed_convolutions_are_their_outputs():
    inputs = keras.Input((1, 1, 4))
    x = keras.layers.Conv2DTranspose(3, 1, name="transposed")(inputs)
    images = np.random.default_rng(0).random((20, 1, 1, 4), np.float32)
    frame = diagnose(keras.Model(inputs, keras.layers.Flatten()(x)), images, np.arange(20) % 3, loss=LOSS)
    assert of(frame, "training", "transposed")["one_sign"] == 1


def sequences():
    return (np.random.default_rng(0).standard_normal((40, 6, 5)) @ np.diag([1, 2, 3, 4, 5])).astype(np.float32)


def on_sequences(*layers):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((6, 5))
    for layer in layers:
        x = layer(x, x) if isinstance(layer, keras.layers.MultiHeadAttention) else layer(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="last")(keras.layers.Flatten()(x)), name="net")


def assert_measured(row, array):
    """As what the positions (positions, channels) say."""
    others = np.abs(np.corrcoef(array.T))[~np.eye(array.shape[1], dtype=bool)]
    assert row["channels"] == array.shape[1]
    assert row["mean_abs_correlation"] == pytest.approx(others.mean(), rel=1e-4)
    assert row["max_abs_correlation"] == pytest.approx(others.max(), rel=1e-4)
    assert row["nonnegative"] == (array >= 0).mean()


# Output shape, the input as (positions, channels), and the axes of the kernel that come into a neuron.
EQUATIONS = {
    "abc,cd->abd": ((6, 4), lambda x: x.reshape(-1, 5), (0,)),
    "abc,dc->abd": ((6, 4), lambda x: x.reshape(-1, 5), (1,)),
    "abc,cde->abde": ((6, 2, 3), lambda x: x.reshape(-1, 5), (0,)),
    "abc,bcd->ad": ((4,), lambda x: x.reshape(-1, 30), (0, 1)),
    "abc,bcd->abd": ((6, 4), lambda x: x.reshape(-1, 5), (1,)),
    "abc,bd->acd": ((5, 4), lambda x: x.transpose(0, 2, 1).reshape(-1, 6), (0,)),
    "...c,cd->...d": ((4,), lambda x: x.reshape(-1, 5), (0,)),
    "ab...,bd->ad...": ((4,), lambda x: x.transpose(0, 2, 1).reshape(-1, 6), (0,)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_dense_is_measured_where_its_equation_says(equation):
    shape, positions, incoming = EQUATIONS[equation]
    model = on_sequences(keras.layers.EinsumDense(equation, shape, name="einsum"))
    images, labels = sequences(), np.arange(40) % 3
    frame = diagnose(model, images, labels, loss=LOSS)
    assert_measured(of(frame, "inference", "einsum"), positions(images))
    if keras.backend.backend() == "tensorflow":
        assert of(frame, "training", "einsum")["one_sign"] == pytest.approx(
            share_of_one_sign(model, "einsum", incoming, images)
        )


RECURRENT = {
    "LSTM": lambda: keras.layers.LSTM(4),
    "GRU": lambda: keras.layers.GRU(4, return_sequences=True),
    "SimpleRNN": lambda: keras.layers.SimpleRNN(4, dropout=0.1),
    "a cell": lambda: keras.layers.RNN(keras.layers.GRUCell(4)),
    "both ways": lambda: keras.layers.Bidirectional(keras.layers.LSTM(4)),
}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.filterwarnings("error:Not measured")
def test_recurrent_and_dense_layers_are_measured_by_the_sequence_that_comes_in(kind):
    frame = diagnose(on_sequences(RECURRENT[kind]()), sequences(), np.arange(40) % 3, loss=LOSS)
    for mode in ("training", "inference"):
        measured = frame[(frame["mode"] == mode) & (frame["kind"] != "Model")]
        assert len(measured) == (3 if kind == "both ways" else 2)
        for _, row in measured[:-1].iterrows():
            assert_measured(row, sequences().reshape(-1, 5))
            assert np.isnan(row["one_sign"])


def test_convolutional_recurrent_layers_have_time_before_channels():
    layer = keras.layers.ConvLSTM1D(2, 2, data_format="channels_first", name="memory")
    assert weights.channel_axes(layer) == (2,)
    layer = keras.layers.ConvLSTM1D(2, 2, data_format="channels_last", name="memory")
    model = on_sequences(keras.layers.Reshape((2, 3, 5)), layer)
    assert_measured(of(diagnose(model, sequences()), "training", "memory"), sequences().reshape(-1, 5))


@pytest.mark.filterwarnings("error:Not measured")
def test_attention_and_wrappers_are_measured_in_the_dense_layers_within():
    layers = keras.layers
    wrapped = [layers.TimeDistributed(layers.Dense(5)), layers.SpectralNormalization(layers.Dense(5))]
    model = on_sequences(layers.MultiHeadAttention(2, 4, name="attention"), *wrapped)
    frame = diagnose(model, sequences(), np.arange(40) % 3, loss=LOSS)
    found = frame[frame["mode"] == "training"].set_index("layer")["channels"].to_dict()
    names = [f"attention/{name}" for name in ("query", "key", "value", "attention_output")]
    assert found == {
        **dict(zip(names, (5, 5, 5, 8), strict=True)),
        **{f"{layer.path.removeprefix('net/')}/{layer.layer.name}": 5 for layer in wrapped},
        "last": 30,
    }
    assert_measured(of(frame, "inference", "attention/query"), sequences().reshape(-1, 5))


class Holding(keras.layers.Layer):
    """Calls a layer that it holds in a way of `how`."""

    def __init__(self, layer, how):
        super().__init__(name="holding")
        self.layer = layer
        self.way = how(layer)

    def build(self, input_shape):
        self.layer.build(input_shape)

    def call(self, inputs):
        return self.way(inputs)


class Product(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="product")
        self.kernel = self.add_weight(shape=(5, 4))

    def call(self, inputs):
        return inputs @ self.kernel


class Idle(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.product = Product()

    def call(self, inputs):
        return inputs


def traced(function):
    backend = keras.backend.backend()
    if backend == "torch":
        pytest.skip("PyTorch traces nothing")
    return __import__(backend).jit(function) if backend == "jax" else __import__(backend).function(function)


UNSEEN = {
    "bound early": (
        lambda: Holding(keras.layers.Dense(4, name="inner"), lambda layer: layer.call),
        "holding/inner (Dense)",
    ),
    "traced": (lambda: Holding(keras.layers.Dense(4, name="inner"), traced), "holding/inner (Dense)"),
    "normalization": (
        lambda: Holding(keras.layers.BatchNormalization(name="inner"), lambda layer: layer.call),
        "holding/inner (BatchNormalization)",
    ),
    "not called": (Idle, "product (Product)"),
    "of the user's own": (Product, "product (Product)"),
    "second cell": (
        lambda: keras.layers.RNN([keras.layers.GRUCell(4), keras.layers.LSTMCell(4, name="b")], name="rnn"),
        "rnn/stacked_rnn_cells/b (LSTMCell)",
    ),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_a_layer_whose_input_is_not_seen_is_named(kind):
    keras.utils.clear_session()  # numbers the layers that Keras names from the first on
    layer, name = UNSEEN[kind]
    model = on_sequences(layer())
    with pytest.warns(UserWarning, match=rf"^Not measured, .*: {re.escape(name)}$"):
        frame = diagnose(model, sequences(), np.arange(40) % 3, loss=LOSS)
    assert of(frame, "training")["channels"] == np.prod(model.layers[-1].input.shape[1:])


@pytest.mark.filterwarnings("error:Not measured")
def test_layers_whose_matrices_multiply_nothing_are_not_named():
    layers = [
        keras.layers.LayerNormalization(axis=(1, 2)),
        keras.layers.PReLU(),
        keras.layers.Normalization(axis=(1, 2)),
    ]
    layers[-1].build((None, 6, 5))
    diagnose(on_sequences(*layers), sequences())
