"""Networks and inputs of the tests of diagnostics."""

import keras
import numpy as np

COUNT = 4000
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(*layers, channels=8):
    """A built model: the layers, then a dense one."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((channels,)), *layers, keras.layers.Dense(3, name="last")], name="net")


def gaussian(covariance, count=COUNT):
    """Samples of exactly this covariance."""
    samples = np.random.default_rng(0).standard_normal((count, len(covariance)))
    samples -= samples.mean(0)
    samples = np.linalg.solve(np.linalg.cholesky(np.cov(samples.T, bias=True)), samples.T).T
    return (samples @ np.linalg.cholesky(covariance).T).astype(np.float32)


def of(frame, mode, layer="last"):
    return frame[(frame["mode"] == mode) & (frame["layer"] == layer)].iloc[0]
