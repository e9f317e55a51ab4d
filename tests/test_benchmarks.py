"""What the benchmarks compare with is what it says it is."""

import numpy as np
import pytest

from benchmarks.whitening import ZCAWhitening


@pytest.mark.parametrize(("method", "tolerance"), [("eigen", 1e-3), ("newton-schulz", 0.1)])
def test_whitened_channels_are_uncorrelated_and_of_variance_1(method, tolerance):
    values = np.random.default_rng(0)
    x = values.normal(size=(64, 4, 4, 3)) @ np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 1.0]]) + 5
    y = np.asarray(ZCAWhitening(method, epsilon=1e-6)(x.astype("float32"))).reshape(-1, 3)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(3), atol=tolerance)
    assert np.abs(np.corrcoef(x.reshape(-1, 3).T) - np.eye(3)).max() > 0.5
