"""Top-1 and top-5 accuracy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from training import metrics


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(6, 30),
    values=st.sampled_from([2, 5, 1000]),  # so few that there are ties, or many
    photographs=st.booleans(),
)
def test_accuracies_are_those_of_argmax_and_scikit_learn_with_ties_too(seed, classes, values, photographs):
    random = np.random.default_rng(seed)
    logits = random.integers(0, values, (40, classes)).astype("float32")
    labels = random.integers(0, classes, 40)
    np.testing.assert_array_equal(metrics.in_top(1)(labels, logits), logits.argmax(axis=1) == labels)
    measured = metrics.of(photographs)
    for metric in measured:
        metric.update_state(labels[:25], logits[:25])
        metric.update_state(labels[25:], logits[25:])
    backwards = classes - 1 - labels, logits[:, ::-1]  # of equal ones scikit-learn takes the last
    expected = {
        name: pytest.approx(top_k_accuracy_score(*backwards, k=k, labels=range(classes)), abs=1e-6)
        for name, k in {"accuracy": 1, "top5": 5}.items()
    }
    names = list(expected) if photographs else ["accuracy"]
    assert {metric.name: float(metric.result()) for metric in measured} == {name: expected[name] for name in names}


def test_a_logit_that_is_no_number_is_in_no_top():
    logits = np.full((3, 10), np.nan, "float32")
    np.testing.assert_array_equal(metrics.in_top(5)(np.array([0, 4, 9]), logits), 0)
