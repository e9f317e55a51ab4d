"""Measures of what comes into a layer, batch by batch: in numbers whose memory does not grow."""

import keras
import numpy as np
from sklearn.feature_selection import mutual_info_regression

from iclayer.weights import channel_axes

MOST_CHANNELS = 2048  # of wider inputs so many are drawn: their covariance has 32 MiB
MOST_POSITIONS = 4096  # of a batch with more so many are drawn
SAMPLES = 1000  # positions from which mutual information is estimated
SAMPLES_A_BATCH = 16, 250  # least and most


def batches_of(images, batch_size):
    """Tensors of `batch_size` images each, from an array, or from a list or dict of such for several inputs."""
    for start in range(0, len(keras.tree.flatten(images)[0]), batch_size):
        part = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda array, part=part: keras.ops.convert_to_tensor(array[part]), images)


def positions(inputs, *axes):
    """A tensor with its channels in `axes`, as (positions, channels)."""
    array = keras.ops.convert_to_numpy(inputs)
    return np.moveaxis(array, axes, range(-len(axes), 0)).reshape(-1, np.prod([array.shape[axis] for axis in axes]))


class Moments:
    """Mean and variance of channels over batches; with `outer`, their covariance.

    Sums are of what is left of the first batch's mean, so that they lose no digits to it.
    """

    def __init__(self, outer=False):
        self.outer = outer
        self.count = 0

    def add(self, array):
        """Takes (positions, channels)."""
        array = array.astype(np.float64)
        if not self.count:
            self.origin = array.mean(0)
            self.sum = np.zeros_like(self.origin)
            self.squares = np.zeros(2 * self.origin.shape if self.outer else self.origin.shape)
        self.count += len(array)
        rest = array - self.origin
        self.sum += rest.sum(0)
        self.squares += rest.T @ rest if self.outer else np.einsum("ij,ij->j", rest, rest)

    @property
    def mean(self):
        return self.origin + self.sum / self.count

    @property
    def variance(self):
        return self.squares / self.count - (self.sum / self.count) ** 2

    @property
    def covariance(self):
        return self.squares / self.count - np.outer(self.sum, self.sum) / self.count**2


class WeightInput:
    """Measures the input of a weight layer, call by call."""

    def __init__(self, layer, pairs, seed):
        self.layer = layer
        self.moments = Moments(outer=True)
        self.pairs = pairs
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.nonnegative = self.count = 0
        self.samples: list[tuple[float, np.ndarray]] = []  # a random key of each batch, and positions of it

    def add(self, inputs):
        array = positions(inputs, *channel_axes(self.layer))
        self.channels = array.shape[-1]
        if len(array) > MOST_POSITIONS:
            array = array[self.random.choice(len(array), MOST_POSITIONS, replace=False)]
        if self.channels > MOST_CHANNELS:
            array = array[:, np.random.default_rng(self.seed).permutation(self.channels)[:MOST_CHANNELS]]
        self.nonnegative += int(np.count_nonzero(array >= 0))
        self.count += array.size
        self._sample(array)
        self.moments.add(array)

    def _sample(self, array):
        """Keeps positions of those batches of all so far that have the least random keys, `SAMPLES` in all.

        Batches stay apart: a normalization by the batch maps a ReLU's zeros to a number that tells the batch, and so
        tells one channel what another one is.
        """
        least, most = SAMPLES_A_BATCH
        if len(array) < least:
            return
        drawn = array[self.random.choice(len(array), min(len(array), most), replace=False)].astype(np.float64)
        samples = sorted([*self.samples, (self.random.random(), drawn)], key=lambda sample: sample[0])
        counts = np.cumsum([len(rows) for _, rows in samples])
        self.samples = samples[: 1 + np.count_nonzero(counts < SAMPLES)]

    def row(self):
        covariance = self.moments.covariance
        scale = np.sqrt(np.diag(covariance).clip(0))
        varying = scale > 1e-6 * (np.abs(self.moments.mean) + np.finfo(np.float32).tiny)
        covariance, scale = covariance[np.ix_(varying, varying)], scale[varying]
        others = np.abs(covariance / np.outer(scale, scale))[~np.eye(len(scale), dtype=bool)]
        return {
            "kind": type(self.layer).__name__,
            "channels": self.channels,
            "constant": int(np.count_nonzero(~varying)),
            "mean_abs_correlation": others.mean() if len(others) else np.nan,
            "max_abs_correlation": others.max() if len(others) else np.nan,
            **self._information(np.flatnonzero(varying)),
            "eigenvalue_spread": _spread(covariance),
            "nonnegative": self.nonnegative / self.count,
        }

    def _information(self, channels):
        found = {"mutual_information": np.nan, "mutual_information_shuffled": np.nan}
        random = np.random.default_rng(self.seed)
        first, second = np.triu_indices(len(channels), 1)
        chosen = random.choice(len(first), min(self.pairs, len(first)), replace=False)
        if len(chosen) and self.samples:
            batches = [rows for _, rows in self.samples]
            pairs = [[rows[:, channels[[first[i], second[i]]]].T for i in chosen] for rows in batches]
            shuffled = [[(x, random.permutation(y)) for x, y in of_batch] for of_batch in pairs]
            weights = [len(rows) for rows in batches]
            for name, of_batches in (("mutual_information", pairs), ("mutual_information_shuffled", shuffled)):
                means = [np.mean([_information(x, y) for x, y in of_batch]) for of_batch in of_batches]
                found[name] = np.average(means, weights=weights)
        return found


class NormInput:
    """Compares the variance of the input of a batch normalization with its moving variance."""

    def __init__(self, layer):
        self.layer = layer
        self.moments = Moments()

    def add(self, inputs):
        self.moments.add(positions(inputs, self.layer.axis))

    def row(self):
        moving = keras.ops.convert_to_numpy(self.layer.moving_variance) + self.layer.epsilon
        ratio = (self.moments.variance + self.layer.epsilon) / moving
        return {
            "kind": type(self.layer).__name__,
            "channels": len(ratio),
            "variance_shift": np.maximum(ratio, 1 / ratio).mean(),
        }


def _information(x, y):
    return mutual_info_regression(x[:, None], y, random_state=0)[0]


def _spread(covariance):
    if not len(covariance):
        return np.nan
    eigenvalues = np.linalg.eigvalsh(covariance)
    smallest = eigenvalues[0] if eigenvalues[0] > 1e-12 * eigenvalues[-1] else 0.0
    return eigenvalues[-1] / smallest if smallest else np.inf
