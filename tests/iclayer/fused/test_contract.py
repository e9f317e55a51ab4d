"""The fast kernels, on any backend: the mathematics of Keras' layers, and noise that is what it must be."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import BACKEND, DEVIATIONS, array, both, calls, function, gradients, noise, reference

from iclayer import IC, fused
from iclayer.fused import BatchNormalization, Dropout, Uout, masks

STOCK = keras.layers.BatchNormalization
POLICIES = ["float32", "mixed_bfloat16", "mixed_float16", *["float64"] * (BACKEND != "jax")]  # which has no float64
ROUNDING = {"float64": 1e-15, "float32": 2**-23, "float16": 2**-11, "bfloat16": 2**-8}
EXAMPLES = {"jax": 20}.get(BACKEND, 60)  # it compiles each


def normalized(x, gradient, axis, weights, momentum, epsilon):
    """What `both` gives, by the formulas of Ioffe & Szegedy (2015), Algorithm 1 and section 3."""
    x, gradient = np.moveaxis(x.astype("float64"), axis, -1), np.moveaxis(gradient.astype("float64"), axis, -1)
    gamma, beta, moving_mean, moving_variance = weights
    over = tuple(range(x.ndim - 1))
    mean, variance = x.mean(over), x.var(over)
    unit = (x - mean) / np.sqrt(variance + epsilon)
    back = gradient - gradient.mean(over) - unit * (gradient * unit).mean(over)
    outputs, back = (np.moveaxis(each, -1, axis) for each in (gamma * unit + beta, gamma * back))
    back /= np.expand_dims(np.sqrt(variance + epsilon), [i for i in range(x.ndim) if i != axis % x.ndim])
    moved = [momentum * old + (1 - momentum) * new for old, new in ((moving_mean, mean), (moving_variance, variance))]
    return [outputs, back, (gradient * unit).sum(over), gradient.sum(over), *moved]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    shape=st.lists(st.integers(2, 6), min_size=2, max_size=5),
    policy=st.sampled_from(POLICIES),
    momentum=st.sampled_from([0.0, 0.9]),
    epsilon=st.sampled_from([1e-3, 1e-2]),
    flags=st.tuples(st.booleans(), st.booleans()),
    data=st.data(),
)
def test_normalization_is_that_of_the_formulas(shape, policy, momentum, epsilon, flags, data):
    axis = data.draw(st.sampled_from([-1, len(shape) - 1, 1]))
    values = np.random.default_rng(data.draw(st.integers(0, 9)))
    x, gradient = (values.normal(1.0, 2.0, shape).astype("float32") for _ in "xy")
    arguments = {"axis": axis, "momentum": momentum, "epsilon": epsilon, "center": flags[1], "scale": flags[0]}
    weights = [values.uniform(0.5, 2.0, shape[axis]) for _ in range(4)]
    weights = [
        weight if there else np.full_like(weight, default)
        for weight, there, default in zip(weights, (*flags, True, True), (1, 0, 0, 0), strict=True)
    ]
    kept = [weight for weight, there in zip(weights, (*flags, True, True), strict=True) if there]
    found = []
    for kind in (BatchNormalization, STOCK):
        layer = kind(**arguments, dtype=policy)
        layer.build(shape)
        layer.set_weights(kept)
        found.append(both(layer, x, gradient))
    exact = normalized(x, gradient, axis, weights, momentum, epsilon)
    exact = [value for value, there in zip(exact, (True, True, *flags, True, True), strict=True) if there]
    tolerance = 1e-5 if policy in ("float32", "float64") else 3e-2
    for ours, stock, right in zip(*found, exact, strict=True):
        limit = tolerance * max(1.0, np.abs(right).max()) + 3 * np.abs(stock - right).max()
        np.testing.assert_allclose(ours, right, rtol=0, atol=limit)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_statistics_stay_float32_and_large_means_do_no_harm(policy):
    x = np.random.default_rng(0).normal(100.0, 0.5, (64, 8, 8, 4)).astype("float32")
    layer = IC(0.0, momentum=0.0, dtype=policy)
    y = array(layer(x, training=True))
    seen = array(keras.ops.cast(x, layer.compute_dtype))
    mean, variance = map(array, layer.norm.get_weights()[2:])
    assert {weight.dtype for weight in layer.weights if "seed" not in weight.path} == {"float32"}
    np.testing.assert_allclose(mean, seen.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, seen.var((0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-2)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 3), (1, 1, 1, 3)])
def test_one_element_a_channel_has_no_variance(shape):
    layer = BatchNormalization(momentum=0.0)
    assert np.isfinite(array(layer(np.ones(shape, "float32"), training=True))).all()
    mean, variance = layer.get_weights()[2:]
    np.testing.assert_allclose(mean, 1, rtol=1e-6)
    np.testing.assert_allclose(variance, 0, atol=1e-9)
    assert (variance >= 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_variables_of_16_bits_are_trained_by_keras_own_path(dtype):
    found = []
    for kind in (BatchNormalization, STOCK):
        layer = kind(dtype=dtype)
        layer.build((8, 4))
        x = np.random.default_rng(0).normal(1.0, 2.0, (8, 4)).astype("float32")
        found.append(both(layer, x, np.ones((8, 4), "float32")))
    for ours, stock in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, stock)


def test_normalization_has_second_derivatives():
    """Which Keras' layer has not on TensorFlow: `tf.nn.moments` takes the mean for a constant."""
    layer = BatchNormalization()
    layer.build((6, 3))
    call, trained = function(layer)
    values = np.random.default_rng(0)
    x, v = (values.normal(size=(6, 3)).astype("float32") for _ in "xv")

    def slope(x):
        (first,) = gradients(lambda x: keras.ops.sum(call(x, *trained)[0] ** 3), x)
        return keras.ops.sum(first * keras.ops.convert_to_tensor(v))

    def exact(x):
        weights, y = (np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
        return (normalized(x, 3 * y**2, -1, weights, 0.99, 1e-3)[1] * v).sum()

    (second,) = gradients(slope, keras.ops.convert_to_tensor(x))
    steps = 1e-5 * np.eye(18).reshape(18, 6, 3)
    right = [(exact(x + step) - exact(x - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(array(second).ravel(), right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", DEVIATIONS)
def test_noise_has_second_derivatives(kind):
    layer, x = kind(0.5, seed=3), keras.ops.convert_to_tensor(np.arange(1, 41, dtype="float32"))
    layer.build((40,))
    call, _ = function(layer)

    def slope(x):
        (first,) = gradients(lambda x: keras.ops.sum(call(x)[0] ** 3), x)
        return keras.ops.sum(first)

    (second,) = gradients(slope, x)
    np.testing.assert_allclose(array(second), 6 * array(x) * noise(layer, (40,)) ** 3, rtol=1e-6)


@pytest.mark.skipif(BACKEND == "torch", reason="there the noise is this one where it is compiled: see test_torch.py")
@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([*DEVIATIONS]),
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    dtype=st.sampled_from(POLICIES).map(lambda policy: policy.removeprefix("mixed_")),
    rate=st.sampled_from([0.05, 0.25, 0.5, 0.9]),
    seed=st.integers(0, 2**31 - 1),
    call=st.integers(0, 2**31 - 2),
)
def test_noise_is_the_same_function_of_seed_call_and_place_on_tensorflow_and_jax(kind, shape, dtype, rate, seed, call):
    layer = kind(rate, seed=seed, dtype=dtype)
    layer.seed_generator.state.assign([seed, call])
    for later in (0, 1):
        found, expected = noise(layer, shape, dtype), reference(kind, rate, shape, seed, call + later)
        np.testing.assert_array_equal(found == 0, expected == 0)
        np.testing.assert_allclose(found, expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@pytest.mark.parametrize("kind", DEVIATIONS)
@pytest.mark.parametrize("seed", [-1, 2**31, 2**32 - 1])
def test_any_seed_that_keras_takes_gives_noise(kind, seed):
    try:
        layer = kind(0.5, seed=seed)
    except (OverflowError, RuntimeError):  # a word of the backend does not hold it
        return
    assert 0.4 < (noise(layer, (10_000,)) < 1).mean() < 0.6


@pytest.mark.parametrize(
    ("kind", "hashed", "drawn"),
    [
        (Dropout, ["183c3d866c0e7e3b", "23ee785790761eb5"], ["4790174c76dfa096", "352d6d850fab30f2"]),
        (Uout, ["e7c3c27993f181c4", "dc1187a86f89e14a"], ["b47aef066fb896ee", "44eee65998af8bf5"]),
    ],
)
def test_noise_stays_that_of_recorded_runs(kind, hashed, drawn):
    layer = kind(0.5, seed=5)
    layer.seed_generator.state.assign([5, 9])
    lower = noise(layer, (70_000,)) < 1
    found = [np.packbits(part).tobytes().hex() for part in (lower[:64], lower[-64:])]
    assert found == (drawn if BACKEND == "torch" else hashed)


def test_the_keys_are_philox():
    """Its authors' known answer for a key and a counter of 0."""

    def product(word, factor):
        return word * factor >> 32, word * factor & masks.WORD

    assert masks.philox(0, 0, int, product) == (0x6627E8D5, 0xE169C58D)


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.3, 0.5, 0.97])
def test_the_rate_is_the_one_asked_for(rate):
    found = calls(Dropout, rate, (64, 32, 32, 16), 8) == 0
    deviation = np.sqrt(rate * (1 - rate) / found.size)  # at 0.05: 0.00008
    assert abs(found.mean() - rate) < 5 * deviation  # a right layer fails once in 1.7 million
    by_call = found.mean(axis=(1, 2, 3, 4))
    assert (abs(by_call - rate) < 5.5 * deviation * np.sqrt(len(by_call))).all()
    by_channel = found.mean(axis=(0, 1, 2, 3))
    assert (abs(by_channel - rate) < 5.5 * deviation * np.sqrt(len(by_channel))).all()


def correlation(a, *others):
    """Of arrays of mean 0 and variance 1, in standard deviations of what independent ones give."""
    return math.prod(others, start=a).mean() * np.sqrt(a.size)


@pytest.mark.parametrize(("kind", "rate"), [(Dropout, 0.05), (Dropout, 0.5), (Uout, 0.5)])
def test_activations_calls_and_layers_are_independent(kind, rate):
    noises = (calls(kind, rate, (64, 16, 16, 32), 12, seed) for seed in (0, 1))
    found, other = (((each - 1) / DEVIATIONS[kind](rate)).astype("float32") for each in noises)
    flat = found.reshape(12, -1)
    lags = (3, 7, *(2**k for k in range(19)))
    values = {f"lag {lag}": correlation(flat[:, :-lag], flat[:, lag:]) for lag in lags}
    values |= {f"call {k} later": correlation(found[:-k], found[k:]) for k in (1, 2, 3, 5)}
    values |= {f"another layer, {k} later": correlation(found[k:], other[: 12 - k]) for k in (0, 1, 2)}
    values["three in a row"] = correlation(flat[:, :-2], flat[:, 1:-1], flat[:, 2:])
    worst = max(values, key=lambda name: abs(values[name]))
    assert abs(values[worst]) < 6, worst  # of 29: a right layer fails once in 17 million


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("kind", "ends"), [(Dropout, (0, 4 / 3)), (Uout, (0.75, 1.25))])
def test_gradient_and_output_have_one_noise_and_its_expectation_is_the_input(kind, ends, policy):
    x = np.random.default_rng(1).normal(size=(64, 8, 8, 16)).astype("float32")
    layer = kind(0.25, seed=3, dtype=policy)
    layer.build(x.shape)
    y, gradient = both(layer, x, np.ones_like(x))
    x = array(keras.ops.cast(x, layer.compute_dtype))
    tolerance = {"float64": 1e-12, "float32": 1e-6}.get(policy, 1e-2)
    np.testing.assert_allclose(y, x * gradient, rtol=tolerance)
    np.testing.assert_allclose([gradient.min(), gradient.max()], ends, rtol=tolerance, atol=2e-4)
    if policy == "float32":
        mean = np.mean([array(layer(x, training=True)) for _ in range(300)], axis=0)
        deviation = abs(x) * DEVIATIONS[kind](0.25) / np.sqrt(300)
        assert (abs(mean - x) < 6.5 * deviation + 1e-6).all()  # of 65,536: a right one fails once in 190,000


def test_frozen_layers_and_rates_0_and_1_are_those_of_keras():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 6)).astype("float32")
    layer = BatchNormalization()
    layer.build(x.shape)
    layer.trainable = False
    np.testing.assert_allclose(array(layer(x, training=True)), x / np.sqrt(1 + layer.epsilon), rtol=1e-6)
    np.testing.assert_array_equal(layer.get_weights()[2], np.zeros(6))
    assert np.isfinite(array(Dropout(1 - 1e-12, seed=0)(x, training=True))).all()
    np.testing.assert_array_equal(array(Dropout(1.0)(x, training=True)), np.zeros_like(x))
    np.testing.assert_array_equal(array(Dropout(0.0)(x, training=True)), x)
    rows = array(Dropout(0.5, noise_shape=(None, 1, 1), seed=0)(np.ones((64, 5, 6), "float32"), training=True))
    assert {len(np.unique(row)) for row in rows} == {1}


@pytest.mark.parametrize("argument", ["renorm", *["synchronized"] * (BACKEND == "tensorflow")])  # the others lack it
def test_a_normalization_that_looks_beyond_its_batch_is_keras_own(argument, monkeypatch):
    layer = BatchNormalization(**{argument: True})
    monkeypatch.setattr(fused.kernels, "normalize", lambda *args: pytest.fail("took the fused kernel"), raising=False)
    layer(np.ones((4, 3), "float32"), training=True)
