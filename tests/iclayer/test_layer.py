"""IC and Uout: the contract of a Keras layer; IC: section 3 of the paper."""

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import iclayer
from iclayer import IC, Uout
from iclayer.layer import NOISES, NORMALIZATIONS, normalization_layer, num_groups

SHAPE = (6, 4, 5, 8)


def normal(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, shape).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)  # on PyTorch, without its gradient


def moved(layer, x):
    """`layer`, with moving statistics, scale and shift that are not the initial ones."""
    layer(x)
    values = np.random.default_rng(1)
    layer.set_weights([values.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
    return layer


KINDS = {normalization: partial(IC, 0.3, normalization) for normalization in NORMALIZATIONS}
KINDS |= {"batch, uout": partial(IC, 0.3, noise="uout"), "Uout": partial(Uout, 0.3)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_it_is_a_keras_layer(kind, dtype, tmp_path):
    x = normal()
    inputs = keras.Input(SHAPE[1:])
    layer = KINDS[kind](seed=3, dtype=dtype, name="layer")
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, dtype=dtype)(layer(inputs)))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((6, 2, 3, 2)), batch_size=3, verbose=0)
    assert layer.compute_output_shape((None, 4, 5, 8)) == (None, 4, 5, 8)
    assert keras.backend.standardize_dtype(layer(x).dtype) == layer.compute_dtype
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("layer").get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    model.save_weights(tmp_path / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(clone.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float16", "float64"])
def test_a_batch_of_no_images_leaves_the_statistics_as_they_are(dtype, axis):
    layer = moved(IC(0.3, axis=axis, seed=3, dtype=dtype), normal())
    before = layer.norm.get_weights()
    y = layer(normal((0, *SHAPE[1:])), training=True)
    assert tuple(y.shape) == (0, *SHAPE[1:])
    for weight, value in zip(layer.norm.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    layer(normal(), training=True)
    assert all(np.isfinite(weight).all() for weight in layer.norm.get_weights())
    assert all(np.any(weight != value) for weight, value in zip(layer.norm.get_weights()[2:], before[2:], strict=True))


def test_a_batch_that_is_masked_whole_leaves_the_statistics_as_they_are():
    layer, x = moved(IC(0.0, momentum=0.5), normal()), normal()
    before = layer.norm.get_weights()[2:]
    layer(x, training=True, mask=np.zeros(SHAPE[:-1], bool))
    for weight, value in zip(layer.norm.get_weights()[2:], before, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)
    mask = np.zeros(SHAPE[:-1], bool)
    mask[:2] = True
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.norm.get_weights()[2], before[0] / 2 + x[:2].mean((0, 1, 2)) / 2, rtol=1e-5)


OF_IC = {
    "rate": 0.2,
    "normalization": "layer",
    "momentum": 0.5,
    "epsilon": 1e-5,
    "axis": 1,
    "center": False,
    "scale": False,
    "seed": 7,
    "noise": "uout",
}


@pytest.mark.parametrize(("kind", "arguments"), [(IC, OF_IC), (Uout, {"rate": 0.2, "seed": 7})])
def test_every_argument_survives_the_config(kind, arguments):
    config = kind(**arguments, name="mine").get_config()
    assert {key: kind.from_config(config).get_config()[key] for key in arguments} == arguments


def test_a_config_of_before_there_was_a_choice_of_noise_is_dropout():
    config = IC().get_config()
    del config["noise"]
    assert IC.from_config(config).noise == "dropout"


STOCK = {
    "batch": lambda: keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-2),
    "layer": lambda: keras.layers.LayerNormalization(epsilon=1e-2),
    "group": lambda: keras.layers.GroupNormalization(2, epsilon=1e-2),
    "instance": lambda: keras.layers.GroupNormalization(8, epsilon=1e-2),
    "none": lambda: keras.layers.Identity(),
}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.0, False), (0.4, False)])
def test_rate_0_and_inference_are_exactly_the_normalization(normalization, noise, rate, training):
    x = normal()
    ours = moved(IC(rate, normalization, momentum=0.9, epsilon=1e-2, noise=noise), x)
    stock = moved(STOCK[normalization](), x)
    tolerance = 1e-5 if training and normalization == "batch" else 0  # another kernel: see test_fused.py
    outputs = [array(layer(x, training=training)) for layer in (ours, stock)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=tolerance)
    for a, b in zip(ours.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(2, 5), min_size=1, max_size=4),
    rate=st.sampled_from([0.05, 0.25, 0.5, 0.9]),
    data=st.data(),
)
def test_training_drops_whole_activations_and_scales_the_rest(shape, rate, data):
    axis = data.draw(st.sampled_from([*range(1, len(shape) + 1), *range(-len(shape), 0)]))
    x = normal((1000, *shape))
    ours = array(IC(rate, axis=axis, seed=0)(x, training=True))
    whole = array(IC(0.0, axis=axis)(x, training=True))
    dropped = ours == 0
    assert abs(dropped.mean() - rate) < 6 * np.sqrt(rate * (1 - rate) / x.size)
    np.testing.assert_allclose(ours[~dropped], (whole / (1 - rate))[~dropped], rtol=1e-5)


def test_training_multiplies_normalized_activations_by_what_uout_draws():
    x = normal((1000, 4, 5, 8))
    ours, whole = (array(IC(rate, noise="uout", seed=0)(x, training=True)) for rate in (0.3, 0.0))
    apart = abs(whole) > 1e-3  # of the rest, rounding is a part
    unit = (ours / whole - 1)[apart] / 0.3
    assert 0.99 < abs(unit).max() < 1.01
    assert abs(unit.mean()) < 6 * np.sqrt(1 / 3 / unit.size)
    assert abs((unit**2).mean() - 1 / 3) < 6 * np.sqrt(4 / 45 / unit.size)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_masks_have_the_rate_and_differ_from_call_to_call(rate):
    layer = IC(rate, "none", seed=1)
    ones = np.ones((64, 32, 32, 8), "float32")
    first, second = (array(layer(ones, training=True)) == 0 for _ in range(2))
    error = 5 * np.sqrt(rate * (1 - rate) / first.size)  # a right layer fails once in 1.7 million
    assert abs(first.mean() - rate) < error
    assert abs((first & second).mean() - rate**2) < error
    other = array(IC(rate, "none", seed=2)(ones, training=True)) == 0
    assert (first != other).any()


def test_constant_inputs_stay_finite():
    assert np.isfinite(array(IC(0.1)(np.full((4, 3), 7.0, "float32"), training=True))).all()


def test_masks_pass_through_and_masked_steps_do_not_count():
    x = normal((3, 4, 2))
    x[:, 2:] = 0.0
    spoiled = x.copy()
    spoiled[:, 2:] = 1e3
    mask = np.tile([True, True, False, False], (3, 1))
    a, b = (array(IC(0.0)(v, training=True, mask=mask)) for v in (x, spoiled))
    np.testing.assert_array_equal(a[:, :2], b[:, :2])
    np.testing.assert_allclose(a[:, :2].mean(axis=(0, 1)), 0, atol=1e-5)
    for layer in (IC(0.1, seed=0), Uout(0.1, seed=0)):
        sequence = keras.Sequential([keras.layers.Masking(), layer, keras.layers.LSTM(3, return_sequences=True)])
        y = array(sequence(x, training=True))
        np.testing.assert_array_equal(y[:, 3], y[:, 1])  # an LSTM repeats itself where steps are masked


def test_training_follows_the_gradient_of_the_stock_layers():
    x, weights = normal(), normal(seed=5)
    ours, stock = moved(IC(0.0), x), moved(keras.layers.BatchNormalization(), x)
    losses = []
    for layer in (ours, stock):
        inputs = keras.Input(SHAPE[1:])
        model = keras.Model(inputs, layer(inputs))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses.append(model.fit(x, weights, batch_size=6, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(ours.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_functional_form_of_figure_2_makes_a_new_layer_at_each_call():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, iclayer.ic(iclayer.ic(inputs, 0.2), rate=0.3))
    assert [layer.rate for layer in model.layers if isinstance(layer, IC)] == [0.2, 0.3]
    assert len(model.trainable_weights) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.5}, "`rate`.*0 <= rate < 1.*rate=1.5"),
        ({"rate": 1.0}, "`rate`"),
        ({"rate": -0.1}, "`rate`"),
        ({"rate": float("nan")}, "`rate`"),
        ({"rate": "half"}, "`rate`.*'half'"),
        ({"rate": True}, "`rate`"),
        ({"normalization": "bach"}, "`normalization`.*batch, layer, group, instance, none.*'bach'"),
        ({"normalization": None}, "`normalization`"),
        ({"momentum": 1.1}, "`momentum`"),
        ({"epsilon": 0}, "`epsilon`"),
        ({"noise": "out"}, "`noise`.*dropout, uout.*'out'"),
        ({"noise": None}, "`noise`"),
        ({"axis": 0}, "`axis`"),
        ({"axis": 1.0}, "`axis`"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        IC(**arguments)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (IC(), (3,), "rank 2"),
        (IC(axis=2), (3, 4), "axis=2"),
        (IC(axis=-2), (3, 4), "axis=-2"),
        (IC(normalization="instance"), (3, 4), "rank 3"),
        (IC(), (3, None), "fixed size of axis -1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


def test_groups_divide_the_channels_and_follow_wu_and_he_where_they_fit():
    assert {c: num_groups(c) for c in (1, 3, 6, 16, 32, 64, 128, 256, 2048)} == {
        1: 1,
        3: 1,
        6: 1,
        16: 4,
        32: 8,
        64: 16,
        128: 32,
        256: 32,
        2048: 32,
    }
    for channels in range(1, 300):
        groups = num_groups(channels)
        assert channels % groups == 0
        assert groups == 1 or channels // groups >= 4


@pytest.mark.parametrize("normalization", ["batch", "layer", "group", "instance"])
def test_a_normalization_is_over_the_last_axis_unless_told(normalization):
    layer = normalization_layer(normalization, channels=8)
    layer.build((None, 5, 4, 8))
    assert {tuple(weight.shape) for weight in layer.weights} == {(8,)}
