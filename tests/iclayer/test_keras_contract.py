"""What this repository uses of Keras beyond its promises: each failure says in one line what Keras has changed."""

import contextlib

import keras
import numpy as np
import pytest

from iclayer import internals
from iclayer.weights import MEASURED, WEIGHT_LAYERS

layers = keras.layers
of_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's layers alone")


@contextlib.contextmanager
def contract(promise):
    """Fails with one line where what is done within fails."""
    try:
        yield
    except Exception as error:
        pytest.fail(f"Keras {keras.__version__} does not hold: {promise} ({error!r:.200})", pytrace=False)


def test_flatten_layers_gives_layers_at_any_depth_once():
    cell = layers.LSTMCell(2, name="cell")
    inner = layers.Dense(5, name="inner")
    inputs = keras.Input((4, 3))
    x = layers.Bidirectional(layers.RNN(cell, return_sequences=True, name="rnn"), name="both")(inputs)
    x = layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    model = keras.Model(inputs, layers.TimeDistributed(inner)(layers.TimeDistributed(inner)(layers.Dense(5)(x))))
    names = {"both", "forward_rnn", "backward_rnn", "query", "attention_output", "inner"}
    with contract("Layer._flatten_layers(include_self=False) gives every layer within, each once"):
        found = internals.layers_within(model)
        assert names <= {layer.name for layer in found}
        assert sum(isinstance(layer, layers.LSTMCell) for layer in found) == 2
        assert len(found) == len(set(found))
        assert model not in found


def test_anything_runs_through_a_functional_model():
    inputs = keras.Input((3,), name="given")
    x = layers.Dropout(0.5, name="dropout")(inputs)
    model = keras.Model(inputs, layers.Add(name="add")([layers.ReLU(name="relu")(x), x]))
    with contract("Function._run_through_graph(inputs, call_fn) calls each operation but inputs, on what was given"):

        class Opaque:
            def __init__(self, *calls):
                self.calls = calls

        def call(layer, args, **_):
            return Opaque(layer, *(each.calls for each in (args if isinstance(args, list) else [args])))

        dropout, relu, add = (model.get_layer(name) for name in ("dropout", "relu", "add"))
        found = internals.run_through(model, Opaque("given"), call)
        assert found.calls == (add, (relu, (dropout, ("given",))), (dropout, ("given",)))


def test_a_layer_knows_what_it_was_called_with():
    query, value = keras.Input((3, 4)), keras.Input((5, 4))
    layer = layers.MultiHeadAttention(1, 2)
    layer(query, value=value, use_causal_mask=True)
    layer(value, query)
    with contract("Layer._inbound_nodes[0].arguments has `args` and `kwargs`, those of the first symbolic call"):
        (first,), others = internals.first_call(layer)
        assert first is query
        assert others["value"] is value
        assert others["use_causal_mask"] is True


@pytest.mark.parametrize("kind", ["functional", "sequential", "subclassed", "within", "recurrent"])
def test_a_layer_runs_the_call_of_its_own(kind):
    layer = layers.SimpleRNN(2) if kind == "recurrent" else layers.Dense(2)

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs)

    inputs = keras.Input((3, 4))
    model = {
        "functional": lambda: keras.Model(inputs, layer(inputs)),
        "sequential": lambda: keras.Sequential([inputs, layer]),
        "subclassed": Subclassed,
        "within": lambda: keras.Sequential([inputs, layers.TimeDistributed(layer)]),
        "recurrent": lambda: keras.Model(inputs, layer(inputs)),
    }[kind]()
    values, seen = np.ones((5, 3, 4), "float32"), []
    before = keras.ops.convert_to_numpy(model(values))
    with contract(
        "Layer.__call__ looks `call` up on the layer, so that one of its own is run, and is gone when deleted"
    ):
        with internals.watched([layer], lambda of, inputs, outputs: seen.append((of, tuple(inputs.shape)))):
            after = keras.ops.convert_to_numpy(model(values))
        model(values)
        assert seen == (3 * [(layer, (5, 4))] if kind == "within" else [(layer, (5, 3, 4))])
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("masked", [False, True])
def test_batch_normalization_takes_its_moments_from_a_method(masked):
    class Fixed(layers.BatchNormalization):
        def _moments(self, inputs, mask):
            assert (mask is not None) == masked
            mean, variance = super()._moments(inputs, mask)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(mean), [1, 2], rtol=1e-5)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(variance), [1, 4], rtol=1e-4)
            return mean * 0 + 3, variance * 0 + 4

    values = np.array([[[0, 0], [2, 4]]], "float32")
    mask = np.ones((1, 2), bool) if masked else None
    with contract(
        "BatchNormalization.call trains by BatchNormalization._moments(inputs, mask): mean and variance over n"
    ):
        layer = Fixed(epsilon=0.0, momentum=0.0)
        outputs = keras.ops.convert_to_numpy(layer(values, training=True, mask=mask))
        np.testing.assert_allclose(outputs, (values - 3) / 2, rtol=1e-5)
        np.testing.assert_allclose(layer.moving_mean, [3, 3], rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, [4, 4], rtol=1e-5)


def test_batch_normalization_names_its_arguments_and_statistics():
    with contract(
        "BatchNormalization has `renorm`, `synchronized`, `axis`, `momentum`, `epsilon`, `center` and `scale`"
    ):
        arguments = {"axis": 1, "momentum": 0.5, "epsilon": 0.25, "center": False, "scale": True, "renorm": True}
        layer = layers.BatchNormalization(**arguments)
        assert {name: getattr(layer, name) for name in arguments} == arguments
        assert layer.synchronized is False
    with contract("BatchNormalization has `gamma`, `beta`, `moving_mean` and `moving_variance`, and no other weights"):
        layer = layers.BatchNormalization()
        layer.build((None, 3))
        parts = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        assert [id(part) for part in parts] == [id(weight) for weight in layer.weights]


def test_dropout_counts_its_calls():
    dtype = {"tensorflow": "int64", "jax": "uint32", "torch": "int32"}[keras.backend.backend()]
    with contract(
        f"Dropout.seed_generator.next() gives {dtype} (2,): the seed of the layer, and the number of the call"
    ):
        layer = layers.Dropout(0.5, seed=7)
        found = [keras.ops.convert_to_numpy(internals.next_seed(layer)) for _ in range(3)]
        assert found[0].dtype == dtype
        np.testing.assert_array_equal(found, [[7, 0], [7, 1], [7, 2]])


@pytest.mark.parametrize("kind", [*WEIGHT_LAYERS, layers.EinsumDense, layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_the_first_weight_of_a_layer_is_its_kernel(kind):
    rank = int(next(filter(str.isdigit, kind.__name__), "1"))
    arguments = {"kernel_size": 3} if "Conv" in kind.__name__ else {}
    positional = {layers.EinsumDense: ("abc,cd->abd", (None, 5))}.get(
        kind, () if "Depthwise" in kind.__name__ else (5,)
    )
    with contract(f"the first of {kind.__name__}.weights is the kernel that its inputs meet"):
        layer = kind(*positional, **arguments)
        layer.build((None, *rank * [8], 4))
        assert layer.weights[0].name in ("kernel", "depthwise_kernel")
        assert isinstance(layer, MEASURED)


def test_recurrent_and_einsum_layers_tell_what_they_hold():
    with contract("RNN.cell, StackedRNNCells.cells, ConvLSTM.data_format and EinsumDense.equation are what was given"):
        cells = [layers.LSTMCell(2), layers.GRUCell(2)]
        assert layers.RNN(cells[0]).cell is cells[0]
        assert list(layers.RNN(cells).cell.cells) == cells
        assert isinstance(layers.LSTM(2).cell, layers.LSTMCell)
        assert layers.ConvLSTM2D(2, 3, data_format="channels_first").data_format == "channels_first"
        assert layers.EinsumDense("abc,cd->abd", (None, 5)).equation == "abc,cd->abd"


@of_tensorflow
def test_a_model_knows_its_strategy():
    import tensorflow as tf

    with contract("Model.distribute_strategy is the tf.distribute strategy under which the model was made"):
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
        assert model.distribute_strategy is strategy
        assert keras.Sequential().distribute_strategy.num_replicas_in_sync == 1
