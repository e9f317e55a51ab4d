"""The closed forms of section 3 against sums over all gates, and against what IC layers do."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import iclayer
from iclayer import theory


def gated(joint, x, y, keep):
    """Values and joint distribution of the gated variables, from all four states of the gates."""
    sums = {}
    for (i, a), (j, b), g, h in itertools.product(enumerate(x), enumerate(y), (0, 1), (0, 1)):
        probability = joint[i, j] * (keep if g else 1 - keep) * (keep if h else 1 - keep)
        sums[g * a, h * b] = sums.get((g * a, h * b), 0) + probability
    xs, ys = (sorted({pair[i] for pair in sums}) for i in (0, 1))
    return np.array([[sums.get((a, b), 0) for b in ys] for a in xs]), np.array(xs), np.array(ys)


def brute_information(joint):
    px, py = joint.sum(1), joint.sum(0)
    return sum(p * np.log(p / (px[i] * py[j])) for (i, j), p in np.ndenumerate(joint) if p)


def brute_entropy(probabilities):
    return -sum(p * np.log(p) for p in probabilities if p)


def brute_correlation(joint, x, y):
    xs, ys = np.meshgrid(x, y, indexing="ij")
    mean = lambda values: (joint * values).sum()  # noqa: E731
    covariance = mean((xs - mean(xs)) * (ys - mean(ys)))
    return covariance / np.sqrt(mean((xs - mean(xs)) ** 2) * mean((ys - mean(ys)) ** 2))


def random_joint(seed, zeros):
    """A joint distribution with holes; with `zeros`, a value of x, of y or of both is 0."""
    random = np.random.default_rng(seed)
    shape = random.integers(2, 7, 2)
    joint = random.dirichlet(np.full(shape.prod(), 0.3)).reshape(shape) * (random.random(shape) > 0.2) + 1e-6
    x, y = (random.choice([-5, -3, -2, -1, 1, 2, 4, 7], size, replace=False).astype(float) for size in shape)
    if zeros:
        which = random.integers(3)
        if which != 0:
            x[random.integers(len(x))] = 0
        if which != 1:
            y[random.integers(len(y))] = 0
    return joint / joint.sum(), x, y, random.uniform(0.05, 1)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_closed_forms_equal_sums_over_all_gates(seed, zeros):
    joint, x, y, keep = random_joint(seed, zeros)
    after, xs, ys = gated(joint, x, y, keep)
    assert theory.mutual_information(joint) == pytest.approx(brute_information(joint), abs=1e-12)
    assert theory.gated_mutual_information(joint, x, y, keep) == pytest.approx(brute_information(after), abs=1e-12)
    assert theory.gated_entropy(joint.sum(1), x, keep) == pytest.approx(brute_entropy(after.sum(1)), abs=1e-12)
    assert theory.gated_expectation(joint.sum(1), x, keep) == pytest.approx(after.sum(1) @ xs, abs=1e-12)
    assert theory.gated_correlation(joint, x, y, keep) == pytest.approx(brute_correlation(after, xs, ys), abs=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), zeros=st.booleans())
def test_theorem_1_is_exact_without_mass_at_zero_and_a_bound_with_it(seed, zeros):
    joint, x, y, keep = random_joint(seed, zeros)
    information = theory.gated_mutual_information(joint, x, y, keep)
    bound = keep**2 * theory.mutual_information(joint)
    entropies = theory.gated_entropy(joint.sum(1), x, keep)
    entropy_bound = keep * theory.entropy(joint.sum(1)) + theory.entropy([keep, 1 - keep])
    if zeros:
        assert information < bound + 1e-12
        assert entropies < entropy_bound + 1e-12
    else:
        assert information == pytest.approx(bound, abs=1e-12)
        assert entropies == pytest.approx(entropy_bound, abs=1e-12)


def test_outputs_of_a_relu_lose_more_than_theorem_1_says():
    joint, values = np.diag([0.5, 0.5]), [0, 1]  # two equal activations, half of them 0
    ratio = theory.gated_mutual_information(joint, values, values, 0.95) / theory.mutual_information(joint)
    assert ratio == pytest.approx(0.7226, abs=0.0001)
    assert ratio < 0.95**2


def test_correlation_is_p_times_that_of_standardized_activations():
    joint, x, y, keep = random_joint(3, zeros=False)
    before = brute_correlation(joint, x, y)
    x, y = ((v - p @ v) / np.sqrt(p @ (v - p @ v) ** 2) for v, p in ((x, joint.sum(1)), (y, joint.sum(0))))
    assert theory.gated_correlation(joint, x, y, keep) == pytest.approx(keep * before, abs=1e-12)


@pytest.mark.parametrize("shape", [(), (6, 6)], ids=["units", "feature maps"])
def test_sampled_ic_layers_agree(shape):
    """In 40 draws of 36,000 pairs each, the mean is within 5 of its standard errors, and biases of estimation."""
    joint = np.array([[0.3, 0.1, 0.05], [0.05, 0.2, 0.3]])
    x, y, rate, count = np.array([-1.0, 2.0]), np.array([-2.0, 1.0, 3.0]), 0.2, 36_000
    random = np.random.default_rng(0)
    layer = iclayer.IC(rate, epsilon=1e-7, seed=1)
    found = []
    for _ in range(40):
        places = random.choice(joint.size, count, p=joint.ravel())
        pairs = np.stack([x[places // 3], y[places % 3]], axis=1).astype(np.float32)
        out = keras.ops.convert_to_numpy(layer(pairs.reshape(-1, *shape, 2), training=True)).reshape(-1, 2)
        before = keras.ops.convert_to_numpy(layer.norm(pairs.reshape(-1, *shape, 2), training=True))
        codes = [
            np.where(out[:, i] == 0, 0, 1 + np.unique(before.reshape(-1, 2)[:, i].round(3), return_inverse=True)[1])
            for i in (0, 1)
        ]
        table = np.histogram2d(*codes, bins=(3, 4), range=((0, 3), (0, 4)))[0] / count
        found.append(
            [
                theory.mutual_information(table),
                theory.entropy(table.sum(1)),
                np.corrcoef(out.T)[0, 1],
                out[:, 0].mean(),
            ]
        )
    standard = [(v - p @ v) / np.sqrt(p @ (v - p @ v) ** 2) for v, p in ((x, joint.sum(1)), (y, joint.sum(0)))]
    keep = 1 - rate
    expected = [
        theory.gated_mutual_information(joint, *standard, keep) + (3 - 1) * (4 - 1) / 2 / count,  # Miller-Madow's bias
        theory.gated_entropy(joint.sum(1), standard[0], keep) - (3 - 1) / 2 / count,
        theory.gated_correlation(joint, *standard, keep),
        theory.gated_expectation(joint.sum(1), standard[0], keep) / keep,
    ]
    errors = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 5 * errors)
    assert errors.max() < 0.002


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: theory.entropy([0.5, 0.6]), "probabilities"),
        (lambda: theory.entropy([1.5, -0.5]), "probabilities"),
        (lambda: theory.entropy([np.nan, 1]), "probabilities"),
        (lambda: theory.mutual_information([0.5, 0.5]), "joint"),
        (lambda: theory.gated_entropy([0.5, 0.5], [1, 1], 0.5), "values"),
        (lambda: theory.gated_entropy([0.5, 0.5], [1, 2, 3], 0.5), "values"),
        (lambda: theory.gated_expectation([0.5, 0.5], [1, np.inf], 0.5), "values"),
        (lambda: theory.gated_entropy([0.5, 0.5], [1, 2], 0), "keep"),
        (lambda: theory.gated_mutual_information(np.eye(2) / 2, [1, 2], [1, 2], 1.1), "keep"),
        (lambda: theory.gated_correlation([[0.5, 0.5]], [1], [1, 2], 0.5), "joint"),
    ],
)
def test_arguments_that_are_not_valid_are_named(call, argument):
    with pytest.raises(ValueError, match=rf"argument `{argument}`\. Expected .* Received"):
        call()
