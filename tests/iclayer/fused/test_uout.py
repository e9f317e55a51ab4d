"""Uout's own: how its noise is distributed, with the kernels and with Keras' operations, which stand in for none."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import array, both, calls, noise

from iclayer import Uout, fused

EXAMPLES = {"jax": 5}.get(keras.backend.backend(), 30)  # it compiles each


@pytest.fixture(params=["kernels", "no kernels"], autouse=True)
def _with_kernels_and_without(request, monkeypatch):
    if request.param == "no kernels":
        monkeypatch.setattr(fused, "kernels", None)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_noise_is_uniform_on_plus_minus_beta(rate):
    unit = (calls(Uout, rate, (64, 32, 32, 16), 4) - 1) / rate
    count, rounding = unit.size, 1e-7 / rate
    assert 1 - 20 / count - rounding < abs(unit).max() <= 1 + rounding  # a right one is below once in 490 million
    assert abs(unit.mean()) < 5 * np.sqrt(1 / 3 / count)  # a right one fails once in 1.7 million; so the next
    assert abs((unit**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / count)  # the variance of r is β²/3
    for axes in ((1, 2, 3, 4), (0, 1, 2, 3)):
        means = unit.mean(axis=axes)  # by call, by channel
        assert (abs(means) < 5.5 * np.sqrt(len(means) / 3 / count)).all()
    steps = np.arange(count) / count
    distance = abs(np.sort(unit, axis=None) / 2 + 0.5 - steps).max()
    assert distance * np.sqrt(count) < 3  # Kolmogorov-Smirnov: a right one fails once in 33 million


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    dtype=st.sampled_from(["float32", "mixed_bfloat16", "mixed_float16"]),
    rate=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_outputs_and_gradients_have_one_factor_within_beta_of_1(shape, dtype, rate):
    layer, values = Uout(rate, seed=3, dtype=dtype), np.random.default_rng(0)
    x, gradient = (values.uniform(1, 2, shape).astype("float32") for _ in "xg")
    y, slope = both(layer, x, gradient)
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(y * gradient, x * slope, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_less(abs(y - x), rate * x + 2 * tolerance)
    assert rate == 0 or (y != x).any() or y.size < 4
    assert keras.backend.standardize_dtype(layer(x, training=True).dtype) == layer.compute_dtype


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False)])
def test_rate_0_and_inference_are_exactly_the_identity(rate, training):
    x = np.random.default_rng(0).normal(3.0, 2.0, (4, 5, 6)).astype("float32")
    np.testing.assert_array_equal(array(Uout(rate)(x, training=training)), x)


def test_noise_is_one_of_the_seed_and_the_call_and_goes_on_from_a_saved_state():
    first, same, other = (Uout(0.5, seed=seed) for seed in (7, 7, 70))
    begun, later = noise(first, (1000,)), noise(first, (1000,))
    np.testing.assert_array_equal(noise(same, (1000,)), begun)
    other_begun = noise(other, (1000,))
    for a, b in ((begun, later), (begun, other_begun), (later, other_begun)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.19  # 6 standard deviations
    other.seed_generator.state.assign(same.seed_generator.state)
    np.testing.assert_array_equal(noise(other, (1000,)), later)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "half", True])
def test_a_rate_that_is_none_is_named(rate):
    with pytest.raises(ValueError, match=f"`rate`.*0 <= rate <= 1.*{rate!r}"):
        Uout(rate)
