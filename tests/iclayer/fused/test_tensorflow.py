"""What the kernels promise on TensorFlow beside the contract: unknown shapes, graphs, and few compilations."""

import itertools
from unittest import mock

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import only

from iclayer import IC
from iclayer.fused import BatchNormalization, Dropout, kernels

tf = only("tensorflow")
STOCK = keras.layers.BatchNormalization


def test_sizes_may_be_unknown():
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


@settings(max_examples=10, deadline=None)
@given(
    kernel=st.sampled_from([kernels.drop, kernels.spread]),
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "bfloat16", "float16", "float64"]),
    rate=st.sampled_from([0.05, 0.5]),
    seed=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
)
def test_eager_graph_and_xla_have_the_same_noise_whether_they_know_the_shape_or_not(kernel, shape, dtype, rate, seed):
    def passes(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = kernel(x, rate, tf.constant(seed, tf.int64))
        return y, tape.gradient(y, x, x)

    x = tf.cast(tf.random.normal(shape, seed=1), dtype)
    eager, gradient = passes(x)
    assert eager.dtype == dtype
    np.testing.assert_array_equal(gradient, eager)
    # A compiler may round the factor of Uout and its product with x once, not twice.
    rounding = {"float64": 2**-51, "float32": 2**-22, "float16": 2**-9, "bfloat16": 2**-6}[dtype]
    rounding *= kernel is kernels.spread
    unknown = [tf.TensorSpec([None] * len(shape), dtype)]
    for signature, jit_compile, own in itertools.product((None, unknown), (False, True), (False, True)):
        with mock.patch.object(kernels, "_has_kernel_of_its_own", lambda size, own=own: own):
            for found in tf.function(passes, input_signature=signature, jit_compile=jit_compile)(x):
                np.testing.assert_allclose(*(tf.cast(each, "float64") for each in (found, eager)), rtol=rounding)


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

    def recorded(noise, dtype, rate):
        def kernel(x, seed):
            tf.py_function(lambda x: sizes.add(len(x)), [x], [])
            return x

        return kernel

    monkeypatch.setattr(kernels, "_kernel", recorded)
    kernels._has_kernel_of_its_own.cache_clear()
    call = way(Dropout(0.5))
    for count in range(1, 101):
        call(tf.ones((8 + count % 3, 128 * count, 4)))
    assert 0 < len(sizes) <= most
