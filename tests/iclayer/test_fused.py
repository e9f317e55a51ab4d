"""The fast kernels: the mathematics of Keras' layers, and masks that are what dropout's masks must be."""

import itertools
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclayer import IC, fused
from iclayer.fused import BatchNormalization, Dropout, drop

tf = pytest.importorskip("tensorflow")
STOCK = keras.layers.BatchNormalization


def trained(layer, x, gradient):
    """Output, gradients and moving statistics of one call in training, all float64."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    variables = [variable.value for variable in layer.trainable_variables]
    gradients = tape.gradient(y, [x, *variables], tf.cast(gradient, y.dtype))
    statistics = [variable.value for variable in layer.non_trainable_variables if "moving" in variable.path]
    return [tf.cast(value, tf.float64).numpy() for value in (y, *gradients, *statistics)]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(2, 6), min_size=2, max_size=5),
    policy=st.sampled_from(["float32", "mixed_bfloat16", "mixed_float16", "float64"]),
    momentum=st.sampled_from([0.0, 0.9]),
    epsilon=st.sampled_from([1e-3, 1e-2]),
    flags=st.tuples(st.booleans(), st.booleans()),
    data=st.data(),
)
def test_normalization_is_that_of_keras(shape, policy, momentum, epsilon, flags, data):
    axis = data.draw(st.sampled_from([-1, len(shape) - 1, 1]))
    values = np.random.default_rng(data.draw(st.integers(0, 9)))
    x, gradient = (values.normal(1.0, 2.0, shape).astype("float32") for _ in "xy")
    arguments = {"axis": axis, "momentum": momentum, "epsilon": epsilon, "center": flags[0], "scale": flags[1]}
    found = []
    for kind, dtype in ((BatchNormalization, policy), (STOCK, policy), (STOCK, "float64")):
        layer = kind(**arguments, dtype=dtype)
        layer.build(shape)
        start = np.random.default_rng(0)
        layer.set_weights([start.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
        found.append(trained(layer, x.astype("float64" if dtype == "float64" else "float32"), gradient))
    tolerance = 1e-5 if policy in ("float32", "float64") else 3e-2
    for ours, stock, exact in zip(*found, strict=True):
        limit = tolerance * max(1.0, np.abs(exact).max()) + 3 * np.abs(stock - exact).max()
        np.testing.assert_allclose(ours, exact, rtol=0, atol=limit)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_statistics_stay_float32_and_large_means_do_no_harm(policy):
    x = np.random.default_rng(0).normal(100.0, 0.5, (64, 8, 8, 4)).astype("float32")
    layer = IC(0.0, momentum=0.0, dtype=policy)
    y = np.asarray(tf.cast(layer(x, training=True), tf.float32))
    seen = np.asarray(tf.cast(tf.cast(x, layer.compute_dtype), tf.float32))
    mean, variance = layer.norm.moving_mean, layer.norm.moving_variance
    assert {weight.dtype for weight in layer.weights if "seed" not in weight.path} == {"float32"}
    np.testing.assert_allclose(mean, seen.mean((0, 1, 2), dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(variance, seen.var((0, 1, 2), dtype=np.float64), rtol=1e-3)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-2)


def test_one_element_a_channel_and_unknown_shapes():
    layer = BatchNormalization(momentum=0.0)
    assert np.isfinite(layer(np.ones((1, 3), "float32"), training=True)).all()
    np.testing.assert_array_equal(layer.moving_variance, np.zeros(3))
    layer = IC(0.5, seed=0)
    layer.build((None, None, 4))
    call = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, 4))])
    for shape in ((2, 3, 4), (5, 1, 4)):
        assert call(tf.ones(shape)).shape == shape


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "float64"])
@pytest.mark.parametrize("axis", [-1, 1])
def test_a_batch_of_unknown_size_may_be_empty(axis, dtype):
    """As `tf.distribute` gives a replica: statistics stay, gradients are 0, the next batch is normalized as ever."""
    layers = [kind(axis=axis, momentum=0.5, dtype=dtype) for kind in (BatchNormalization, STOCK)]
    for layer in layers:
        layer.build((None, 3, 4))

    def train(layer):
        @tf.function(input_signature=[tf.TensorSpec((None, 3, 4), layer.compute_dtype)], autograph=False)
        def run(x):
            with tf.GradientTape() as tape:
                y = layer(x, training=True)
            return tape.gradient(y, [variable.value for variable in layer.trainable_variables])

        return run

    ours, stock = (train(layer) for layer in layers)
    x = tf.random.normal((5, 3, 4), 1.0, 2.0, dtype=layers[0].compute_dtype, seed=1)
    before = layers[0].get_weights()
    for gradient in ours(x[:0]):
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    for weight, value in zip(layers[0].get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)
    ours(x), stock(x)
    for weight, value in zip(layers[0].get_weights(), layers[1].get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-3 if dtype == "mixed_float16" else 1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_variables_of_16_bits_are_trained_by_keras_own_path(dtype):
    found = []
    for kind in (BatchNormalization, STOCK):
        layer = kind(dtype=dtype)
        layer.build((8, 4))
        x = np.random.default_rng(0).normal(1.0, 2.0, (8, 4)).astype("float32")
        found.append(trained(layer, tf.cast(x, dtype), np.ones((8, 4), "float32")))
    for ours, stock in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, stock)


def masks(rate, shape, count, seed=0):
    """What `count` calls drop, as a bool array (count, *shape)."""
    layer = Dropout(rate, seed=seed)
    ones = tf.ones(shape)
    return np.stack([layer(ones, training=True).numpy() == 0 for _ in range(count)])


@pytest.mark.parametrize("rate", [0.002, 0.05, 0.3, 0.5, 0.97])
def test_the_rate_is_the_one_asked_for(rate):
    dropped = masks(rate, (64, 32, 32, 16), 8)
    deviation = np.sqrt(rate * (1 - rate) / dropped.size)  # at 0.05: 0.00008
    assert abs(dropped.mean() - rate) < 5 * deviation  # a right layer fails once in 1.7 million
    by_call = dropped.mean(axis=(1, 2, 3, 4))
    assert (abs(by_call - rate) < 5.5 * deviation * np.sqrt(len(by_call))).all()
    by_channel = dropped.mean(axis=(0, 1, 2, 3))
    assert (abs(by_channel - rate) < 5.5 * deviation * np.sqrt(len(by_channel))).all()


def correlation(a, b, rate):
    """Of two arrays of drops, in standard deviations of what independent ones give."""
    return ((a - rate) * (b - rate)).mean() / (rate * (1 - rate)) * np.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_activations_calls_and_layers_are_independent(rate):
    dropped = masks(rate, (64, 16, 16, 32), 12).astype("float32")
    other = masks(rate, (64, 16, 16, 32), 12, seed=1).astype("float32")
    flat = dropped.reshape(12, -1)
    lags = (3, 7, *(2**k for k in range(19)))
    found = {f"lag {lag}": correlation(flat[:, :-lag], flat[:, lag:], rate) for lag in lags}
    found |= {f"call {k} later": correlation(dropped[:-k], dropped[k:], rate) for k in (1, 2, 3, 5)}
    found |= {f"another layer, {k} later": correlation(dropped[k:], other[: 12 - k], rate) for k in (0, 1, 2)}
    worst = max(found, key=lambda name: abs(found[name]))
    assert abs(found[worst]) < 6, worst  # of 28: a right layer fails once in 18 million
    together = (flat[:, :-2] * flat[:, 1:-1] * flat[:, 2:]).mean()  # three in a row
    assert abs(together - rate**3) < 6 * np.sqrt(rate**3 / flat.size)


def test_gradient_and_output_have_one_mask_and_its_expectation_is_the_input():
    layer, x = Dropout(0.25, seed=3), tf.random.normal((64, 8, 8, 16), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    gradient = tape.gradient(y, x).numpy()
    np.testing.assert_array_equal(y.numpy(), (x * gradient).numpy())
    np.testing.assert_allclose(np.unique(gradient), [0, 4 / 3])
    mean = np.mean([layer(x, training=True).numpy() for _ in range(300)], axis=0)
    deviation = abs(x.numpy()) * np.sqrt(0.25 / 0.75 / 300)
    assert (abs(mean - x.numpy()) < 6.5 * deviation + 1e-6).all()  # of 65,536: a right one fails once in 190,000


@settings(max_examples=10, deadline=None)
@given(
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "bfloat16", "float16", "float64"]),
    rate=st.sampled_from([0.05, 0.5]),
    seed=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
)
def test_eager_graph_and_xla_drop_the_same_whether_they_know_the_shape_or_not(shape, dtype, rate, seed):
    def passes(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = drop(x, rate, tf.constant(seed, tf.int64))
        return y, tape.gradient(y, x, x)

    x = tf.cast(tf.random.normal(shape, seed=1), dtype)
    eager, gradient = passes(x)
    assert eager.dtype == dtype
    np.testing.assert_array_equal(gradient, eager)
    unknown = [tf.TensorSpec([None] * len(shape), dtype)]
    for signature, jit_compile, own in itertools.product((None, unknown), (False, True), (False, True)):
        with mock.patch.object(fused, "_has_kernel_of_its_own", lambda size, own=own: own):
            for found in tf.function(passes, input_signature=signature, jit_compile=jit_compile)(x):
                np.testing.assert_array_equal(found, eager)


def test_masks_stay_those_of_recorded_runs():
    dropped = drop(tf.ones([70_000]), 0.5, tf.constant([5, 9], tf.int64)).numpy() == 0
    assert [np.packbits(part).tobytes().hex() for part in (dropped[:64], dropped[-64:])] == [
        "183c3d866c0e7e3b",
        "23ee785790761eb5",
    ]


def train_on_batch(layer):
    model = keras.Sequential([keras.Input((None, 4)), layer, keras.layers.GlobalAveragePooling1D()])
    model.compile("sgd", "mse")
    return lambda x: model.train_on_batch(x, np.zeros((len(x), 4), "float32"))


@pytest.mark.parametrize(
    ("way", "most"),
    [
        (lambda layer: lambda x: layer(x, training=True), 4),
        (lambda layer: tf.function(lambda x: layer(x, training=True)), 64 + 4),
        (lambda layer: tf.function(lambda x: layer(x, training=True), reduce_retracing=True), 1 + 4),
        (lambda layer: tf.function(lambda x: layer(x, training=True), [tf.TensorSpec([None, None, 4])]), 4),
        (train_on_batch, 1 + 4),
    ],
    ids=["eager", "graphs", "relaxed", "unknown", "train_on_batch"],
)
def test_a_hundred_shapes_need_few_kernels(monkeypatch, way, most):
    """XLA compiles a kernel for each size that reaches it, and stock dropout none."""
    sizes = set()

    def recorded(dtype, rate):
        def kernel(x, seed):
            tf.py_function(lambda x: sizes.add(len(x)), [x], [])
            return x

        return kernel

    monkeypatch.setattr(fused, "_kernel", recorded)
    fused._has_kernel_of_its_own.cache_clear()
    call = way(Dropout(0.5))
    for count in range(1, 101):
        call(tf.ones((8 + count % 3, 128 * count, 4)))
    assert 0 < len(sizes) <= most


def test_frozen_and_masked_layers_are_those_of_keras():
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 6)).astype("float32")
    layer = BatchNormalization()
    layer.build(x.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1 + layer.epsilon), rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(6))
    assert np.isfinite(Dropout(1 - 1e-12, seed=0)(x, training=True)).all()
    np.testing.assert_array_equal(Dropout(1.0)(x, training=True), np.zeros_like(x))
    np.testing.assert_array_equal(Dropout(0.0)(x, training=True), x)


@pytest.mark.parametrize("argument", ["renorm", "synchronized"])
def test_a_normalization_that_looks_beyond_its_batch_is_keras_own(argument, monkeypatch):
    layer = BatchNormalization(**{argument: True})
    monkeypatch.setattr(layer, "_normalize", lambda inputs: pytest.fail("took the fused kernel"))
    layer(np.ones((4, 3), "float32"), training=True)
