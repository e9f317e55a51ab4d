"""The closed forms of the variance shift against sampling, and against what diagnose finds in networks."""

import keras
import numpy as np
import pytest
from diagnosed import gaussian
from hypothesis import given
from hypothesis import strategies as st

from iclayer import theory
from iclayer.diagnostics import diagnose


def multipliers(random, kind, strength, shape):
    """Of dropout that keeps 1 - `strength`, or of Uout with β = `strength`."""
    if kind == "dropout":
        return (random.random(shape) >= strength) / (1 - strength)
    return 1 + random.uniform(-strength, strength, shape)


def noise(kind, strength):
    return theory.dropout_noise(1 - strength) if kind == "dropout" else theory.uout_noise(strength)


@pytest.mark.parametrize("kind", ["dropout", "uout"])
@pytest.mark.parametrize("seed", range(100))
def test_closed_forms_are_within_5_standard_errors_of_sampling(seed, kind):
    """Of the ratio a/b of two means over samples, the error is the mean of (a - Δ b) / b (first order), so that has it.

    The activations are correlated, and mixtures of exponential and Gaussian sources.
    """
    random = np.random.default_rng(seed)
    count, d = 20_000, seed % 8 + 1
    strength = random.uniform(0.05, 0.8)
    weights, mean, mixing = random.normal(size=d), random.normal(size=d), random.normal(size=(d, d))
    sources = np.where(random.random(d) < 0.5, random.exponential(size=(count, d)) - 1, random.normal(size=(count, d)))
    x = mean + sources @ mixing.T
    covariance = mixing @ mixing.T
    found = weights @ x.T, weights @ (x * multipliers(random, kind, strength, x.shape)).T
    inference, training = ((values - weights @ mean) ** 2 for values in found)
    expected = theory.weighted_variance_ratio(weights, mean, covariance, noise(kind, strength))
    errors = (inference - expected * training) / training.mean()
    standard_error = errors.std() / np.sqrt(count)
    assert abs(errors.mean()) < 5 * standard_error
    assert standard_error < 0.02
    if d == 1:
        alone = theory.variance_ratio(mean[0], covariance[0, 0], noise(kind, strength))
        assert alone == pytest.approx(expected, rel=1e-12)  # whatever the weight


unit = st.floats(0.01, 1)


@given(keep=unit, mean=st.floats(-5, 5), variance=st.floats(0.01, 10), beta=unit)
def test_right_behind_the_noise_it_is_the_ratio_of_li_2018(keep, mean, variance, beta):
    dropout = variance / ((mean**2 + variance) / keep - mean**2)
    assert theory.variance_ratio(mean, variance, theory.dropout_noise(keep)) == pytest.approx(dropout, rel=1e-9)
    assert theory.variance_ratio(0, variance, theory.uout_noise(beta)) == pytest.approx(3 / (3 + beta**2), rel=1e-9)
    assert theory.variance_ratio(mean, variance, 0) == 1


def equal(d, variance, correlation):
    """The covariance of activations that are all alike."""
    return variance * (correlation * np.ones((d, d)) + (1 - correlation) * np.eye(d))


@given(
    weights=st.lists(st.floats(-2, 2).filter(lambda weight: abs(weight) > 0.01), min_size=1, max_size=9),
    mean=st.floats(-3, 3),
    variance=st.floats(0.1, 10),
    correlation=st.floats(0, 0.9),
    s=st.floats(0, 2),
)
def test_of_activations_that_are_alike_only_the_alignment_of_the_weights_counts(
    weights, mean, variance, correlation, s
):
    d = len(weights)
    cosine = np.dot(weights, np.ones(d)) / np.linalg.norm(weights) / np.sqrt(d)
    assert theory.alignment(weights) == pytest.approx(d * cosine**2, abs=1e-9)
    inference = variance * (1 + correlation * (theory.alignment(weights) - 1))
    found = theory.weighted_variance_ratio(weights, np.full(d, mean), equal(d, variance, correlation), s)
    assert found == pytest.approx(inference / (inference + s * (mean**2 + variance)), rel=1e-9)


def test_wide_layers_shift_less_where_activations_are_correlated():
    def ratios(correlation):
        widths = [1, 4, 16, 64, 256, 1024]
        return [theory.weighted_variance_ratio(np.ones(d), np.ones(d), equal(d, 1, correlation), 1) for d in widths]

    assert np.all(np.diff(ratios(0.5)) > 0)
    assert 0.99 < ratios(0.5)[-1] < 1
    np.testing.assert_allclose(ratios(0), 1 / 3)


class Uout(keras.layers.Layer):
    """The Uout of Li et al. 2018."""

    def call(self, inputs, training=False):
        return inputs * (1 + keras.random.uniform(inputs.shape, -0.8, 0.8, seed=1)) if training else inputs


MEAN, COVARIANCE = np.array([1.0, -0.5, 0, 2]), equal(4, 2, 0.4) * np.outer([1, 2, 0.5, 1], [1, 2, 0.5, 1])
COUNT = 40_000


def shift(inputs, *layers):
    """What diagnose finds at a batch normalization that has learned in training, behind `layers`."""
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-7, name="norm")
    x = given = keras.Input(inputs.shape[1:])
    for layer in (*layers, norm, keras.layers.Dense(2)):
        x = layer(x)
    model = keras.Model(given, x)
    model(inputs, training=True)  # momentum 0: the statistics are now those of these inputs
    return diagnose(model, inputs, batch_size=COUNT).set_index(["layer", "mode"])["variance_shift"]["norm", "inference"]


@pytest.mark.parametrize("kind", ["dropout", "uout"])
def test_planted_shifts_are_found_to_2_percent(kind):
    layer = keras.layers.Dropout(0.3, seed=1) if kind == "dropout" else Uout()
    s = noise(kind, {"dropout": 0.3, "uout": 0.8}[kind])
    inputs = (gaussian(COVARIANCE, COUNT) + MEAN).astype(np.float32)
    right_behind = [theory.variance_ratio(*moments, s) for moments in zip(MEAN, np.diag(COVARIANCE), strict=True)]
    assert shift(inputs, layer) == pytest.approx(np.mean(1 / np.array(right_behind)), rel=0.02)
    dense = keras.layers.Dense(6)
    found = shift(inputs, layer, dense)
    neurons = keras.ops.convert_to_numpy(dense.kernel).T
    behind = [theory.weighted_variance_ratio(weights, MEAN, COVARIANCE, s) for weights in neurons]
    assert found == pytest.approx(np.mean(1 / np.array(behind)), rel=0.02)


def test_a_planted_shift_behind_a_conv_is_found_to_2_percent():
    positions = 9 * COUNT // 10
    inputs = (gaussian(COVARIANCE, positions) + MEAN).astype(np.float32).reshape(-1, 6, 6, 4)
    conv = keras.layers.Conv2D(6, 3)
    found = shift(inputs, keras.layers.Dropout(0.3, seed=1), conv)
    neurons = keras.ops.convert_to_numpy(conv.kernel).reshape(36, 6).T  # positions are independent of each other
    moments = np.tile(MEAN, 9), np.kron(np.eye(9), COVARIANCE)
    behind = [theory.weighted_variance_ratio(weights, *moments, theory.dropout_noise(0.7)) for weights in neurons]
    assert found == pytest.approx(np.mean(1 / np.array(behind)), rel=0.02)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: theory.dropout_noise(0), "keep"),
        (lambda: theory.uout_noise(-0.1), "beta"),
        (lambda: theory.uout_noise(1.1), "beta"),
        (lambda: theory.variance_ratio(np.nan, 1, 0.1), "mean"),
        (lambda: theory.variance_ratio(0, 0, 0.1), "variance"),
        (lambda: theory.variance_ratio(0, np.inf, 0.1), "variance"),
        (lambda: theory.variance_ratio(0, 1, -0.1), "noise"),
        (lambda: theory.variance_ratio(0, 1, np.inf), "noise"),
        (lambda: theory.weighted_variance_ratio([[1]], [0], [[1]], 0.1), "weights"),
        (lambda: theory.weighted_variance_ratio([1, -1], [0, 0], np.ones((2, 2)), 0.1), "weights"),
        (lambda: theory.weighted_variance_ratio([1, 2], [0], np.eye(2), 0.1), "mean"),
        (lambda: theory.weighted_variance_ratio([1, 2], [0, 0], np.eye(3), 0.1), "covariance"),
        (lambda: theory.weighted_variance_ratio([1, 2], [0, 0], [[1, 0.5], [0, 1]], 0.1), "covariance"),
        (lambda: theory.weighted_variance_ratio([1, 2], [0, 0], [[1, 2], [2, 1]], 0.1), "covariance"),
        (lambda: theory.weighted_variance_ratio([1, 2], [0, 0], [[1, np.nan], [np.nan, 1]], 0.1), "covariance"),
        (lambda: theory.alignment([0, 0]), "weights"),
        (lambda: theory.alignment([]), "weights"),
        (lambda: theory.alignment([1, np.inf]), "weights"),
    ],
)
def test_arguments_that_are_not_valid_are_named(call, argument):
    with pytest.raises(ValueError, match=rf"argument `{argument}`\. Expected .* Received"):
        call()
