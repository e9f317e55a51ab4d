"""What dropout does to activations, in closed form: information and correlation, and the variance that is learned.

The first part is of two discrete activations (3.1, 3.2), by exact sums, no sampling. Independent gates keep each
activation with probability p = `keep`, else it becomes 0. All logarithms are natural, so information is in nats. Keras'
dropout also divides by p, which changes neither information nor correlation, and makes the expectation that of the
activation.

The paper proves Theorem 1 where P(x = 0) = 0, so that a closed gate can be seen. Outputs of a ReLU are 0 with positive
probability. Let A = [x != 0] and B = [y != 0], with gates g and h. x̂ is known from gA and, where gA = 1, from x; so the
chain rule of mutual information, for x̂ and then for ŷ, gives

    I(x̂; ŷ) = I(gA; hB) + p P(A) I(x; hB | A) + p P(B) I(gA; y | B) + p² P(A, B) I(x; y | A, B)
    H(x̂)    = H(Bernoulli(p P(A))) + p P(A) H(x | A)

Without mass at 0 these are the theorem's p² I(x; y) and p H(x) + H(Bernoulli p). With it they are at most that: gated
activations are what a channel gives that erases visibly, with "erased" and 0 merged, and merging loses information. In
the IC layer dropout follows a normalization, which takes the mass of a ReLU's zeros elsewhere: there the theorem holds.

The second part is the variance shift of Li et al. 2018 (arXiv 1801.05134). A batch normalization behind dropout learns
the variance of an input with noise, and in inference gets the input without. Dropout, and their Uout too, multiplies
each activation by an m of its own, independent of all activations, with E(m) = 1 and Var(m) = s, the noise:

    dropout  m is 1/p with probability p, else 0    s = 1/p - 1
    Uout     m = 1 + r, r uniform on [-β, β]        s = β²/3

An activation x of mean c and variance v gives E(mx) = c and E((mx)²) = (1 + s) (c² + v). So noise adds s (c² + v) to
its variance, and nothing to the covariance of two. Let X = Σ_i w_i x_i be a neuron of a weight layer whose inputs have
means c_i and covariance Σ. Then

    Δ = Var(X in inference) / Var(X in training) = w'Σw / (w'Σw + s Σ_i w_i² (c_i² + Σ_ii))

For d = 1 that is noise right before the normalization: v / (v + s (c² + v)), for Uout 3 / (3 + β²) where c = 0. Let all
means be equal, all variances, and all correlations, R, and θ be the angle between w and (1, ..., 1). As Σ_{i≠j} w_i w_j
is |w|² (d cos²θ - 1),

    Δ = v (1 + R (d cos²θ - 1)) / (v (1 + R (d cos²θ - 1)) + s (c² + v))

which goes to 1 as d cos²θ grows, where R > 0: wide layers suffer less.
"""

import numpy as np
from scipy.special import entr, rel_entr

from iclayer.errors import require


def _distribution(name, probabilities, rank):
    array = np.asarray(probabilities, np.float64)
    require(
        name,
        array.ndim == rank and np.all(array >= 0) and np.isclose(array.sum(), 1, rtol=0, atol=1e-9),
        f"probabilities of rank {rank} that add up to 1",
        f"shape {array.shape}, sum {array.sum():.6g}, least {array.min(initial=np.inf):.6g}",
    )
    return array


def _values(name, values, count):
    array = np.asarray(values, np.float64)
    valid = array.shape == (count,) and np.all(np.isfinite(array)) and len(np.unique(array)) == count
    require(name, valid, f"{count} different finite values, one for each probability", repr(values))
    return array


def _probability(keep):
    require("keep", 0 < keep <= 1, "0 < keep <= 1", f"{keep=}")
    return keep


def entropy(probabilities) -> float:
    """Shannon entropy H(x) in nats of P(x): array (k,).

    Raises:
        ValueError: these are no probabilities.
    """
    return float(entr(_distribution("probabilities", probabilities, 1)).sum())


def mutual_information(joint) -> float:
    """I(x; y) in nats of P(x, y): array (k, m) (3.1).

    Raises:
        ValueError: these are no probabilities.
    """
    joint = _distribution("joint", joint, 2)
    return float(rel_entr(joint, np.outer(joint.sum(1), joint.sum(0))).sum())


def gated_entropy(probabilities, values, keep) -> float:
    """H(x̂) in nats: p H(x) + H(Bernoulli p) where no value is 0 (Theorem 1), less otherwise.

    Args:
        probabilities: P(x), array (k,).
        values: of x, array (k,).
        keep: p, the probability that a gate is open: 1 - `rate`.

    Raises:
        ValueError: an argument is not valid.
    """
    probabilities = _distribution("probabilities", probabilities, 1)
    nonzero = probabilities[_values("values", values, len(probabilities)) != 0]
    seen = _probability(keep) * nonzero.sum()
    return float(entr(seen) + entr(1 - seen) + keep * _conditional(entropy, nonzero))


def gated_mutual_information(joint, x, y, keep) -> float:
    """I(x̂; ŷ) in nats: p² I(x; y) where neither x nor y is ever 0 (Theorem 1), at most that otherwise.

    Args:
        joint: P(x, y), array (k, m).
        x, y: values, arrays (k,) and (m,).
        keep: p, the probability that a gate is open: 1 - `rate`.

    Raises:
        ValueError: an argument is not valid.
    """
    joint = _distribution("joint", joint, 2)
    a, b = _values("x", x, joint.shape[0]) != 0, _values("y", y, joint.shape[1]) != 0
    p = _probability(keep)
    by_y = np.stack([joint[:, b].sum(1), joint[:, ~b].sum(1)], axis=1)  # P(x, B)
    by_x = np.stack([joint[a].sum(0), joint[~a].sum(0)])  # P(A, y)
    both = np.stack([by_y[a].sum(0), by_y[~a].sum(0)])  # P(A, B)
    gate = np.array([[p, 1 - p], [0, 1]])  # from A to gA
    return float(
        mutual_information(gate.T @ both @ gate)
        + p * _conditional(mutual_information, by_y[a] @ gate)
        + p * _conditional(mutual_information, gate.T @ by_x[:, b])
        + p**2 * _conditional(mutual_information, joint[np.ix_(a, b)])
    )


def _conditional(measure, part):
    """`measure` of the distribution that `part` is a part of, times the probability of that part."""
    total = part.sum()
    return total * measure(part / total) if total else 0.0


def gated_expectation(probabilities, values, keep) -> float:
    """E(x̂) = p E(x) (3.2); arguments and errors as of `gated_entropy`."""
    probabilities = _distribution("probabilities", probabilities, 1)
    return float(_probability(keep) * probabilities @ _values("values", values, len(probabilities)))


def gated_correlation(joint, x, y, keep) -> float:
    """Correlation of x̂ and ŷ; arguments and errors as of `gated_mutual_information`, and x and y must vary.

    For standardized activations it is p times that of x and y (3.2). For others, of means m and variances v, it is that
    divided by sqrt((1 + (1 - p) m_x² / v_x) (1 + (1 - p) m_y² / v_y)): a shift that is learned lowers it further.
    """
    joint = _distribution("joint", joint, 2)
    x, y = _values("x", x, joint.shape[0]), _values("y", y, joint.shape[1])
    means = joint.sum(1) @ x, joint.sum(0) @ y
    variances = joint.sum(1) @ (x - means[0]) ** 2, joint.sum(0) @ (y - means[1]) ** 2
    require("joint", all(variances), "x and y to vary", "one does not")
    covariance = (x - means[0]) @ joint @ (y - means[1])
    spread = [v + (1 - _probability(keep)) * m**2 for m, v in zip(means, variances, strict=True)]
    return float(keep * covariance / np.sqrt(spread[0] * spread[1]))


def dropout_noise(keep) -> float:
    """Variance s of the multiplier of dropout, 1/p - 1, where `keep` is p, the probability that a gate is open.

    Raises:
        ValueError: `keep` is not valid.
    """
    return 1 / _probability(keep) - 1


def uout_noise(beta) -> float:
    """Variance s of the multiplier of Uout, β²/3 (Li et al. 2018): 1 + r, with r uniform on [-`beta`, `beta`].

    Raises:
        ValueError: `beta` is not valid.
    """
    require("beta", 0 <= beta <= 1, "0 <= beta <= 1", f"{beta=}")
    return beta**2 / 3


def variance_ratio(mean, variance, noise) -> float:
    """Δ of an activation right behind the noise: its variance in inference by that in training (Li et al. 2018).

    `iclayer.diagnostics.diagnose` gives 1/Δ as `variance_shift`.

    Args:
        mean, variance: of the activation without noise, floats.
        noise: s, from `dropout_noise` or `uout_noise`.

    Raises:
        ValueError: an argument is not valid.
    """
    require("mean", np.isfinite(mean), "a finite number", f"{mean=}")
    require("variance", 0 < variance < np.inf, "a finite number above 0", f"{variance=}")
    return float(weighted_variance_ratio([1], [mean], [[variance]], noise))


def weighted_variance_ratio(weights, mean, covariance, noise) -> float:
    """Δ of a neuron of a weight layer behind the noise: its variance in inference by that in training.

    Args:
        weights: of the neuron, array (d,).
        mean: of its inputs without noise, array (d,).
        covariance: of them, array (d, d).
        noise: s, from `dropout_noise` or `uout_noise`.

    Raises:
        ValueError: an argument is not valid, or the neuron does not vary.
    """
    weights, mean = _vector("weights", weights), _vector("mean", mean)
    require("mean", mean.shape == weights.shape, f"shape {weights.shape}", f"shape {mean.shape}")
    covariance = np.asarray(covariance, np.float64)
    square = covariance.shape == 2 * weights.shape and np.all(np.isfinite(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance) if square and np.allclose(covariance, covariance.T) else [-1]
    positive = eigenvalues[0] >= -1e-9 * abs(eigenvalues[-1])  # but for rounding
    require("covariance", positive, f"that of {len(weights)} activations", covariance.tolist())
    require("noise", 0 <= noise < np.inf, "a finite number, 0 or above", f"{noise=}")
    inference = weights @ covariance @ weights
    require("weights", inference > 0, "a neuron that varies", f"variance {inference}")
    return float(inference / (inference + noise * weights**2 @ (mean**2 + np.diag(covariance))))


def alignment(weights) -> float:
    """d cos²θ = (Σ_i w_i)² / |w|² of weights, array (d,): from 0 to d, which it is where all are equal.

    Raises:
        ValueError: `weights` are not valid, or all 0.
    """
    weights = _vector("weights", weights)
    require("weights", np.any(weights), "one that is not 0", repr(weights))
    return float(weights.sum() ** 2 / (weights @ weights))


def _vector(name, values):
    array = np.asarray(values, np.float64)
    valid = array.ndim == 1 and array.size and np.all(np.isfinite(array))
    require(name, valid, "finite numbers, array (d,)", repr(values))
    return array
