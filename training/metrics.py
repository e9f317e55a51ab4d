"""Accuracies."""

import keras


def in_top(k):
    """A function of labels (batch,) and logits (batch, classes): 1.0 where the label is among the k greatest logits.

    Of equal logits those of the greater index come first, as in `sklearn.metrics.top_k_accuracy_score`. A logit that is
    not a number is in no top.
    """

    def matches(labels, logits):
        ops = keras.ops
        labels = ops.cast(ops.reshape(labels, (-1, 1)), "int32")
        logits = ops.cast(logits, "float32")
        own = ops.take_along_axis(logits, labels, axis=1)
        later = ops.arange(logits.shape[-1]) > labels
        behind = ops.where(later, logits < own, logits <= own)
        return ops.cast(ops.sum(ops.cast(ops.logical_not(behind), "int32"), axis=1) < k, "float32")

    return matches


def top(k, name):
    """The metric of `in_top`: a mean over images, weighted by their weights."""
    return keras.metrics.MeanMetricWrapper(in_top(k), name=name)


def of(photographs: bool) -> list[keras.metrics.Metric]:
    """The metrics of a run: the accuracy, and for photographs (4.3) the one among the five likeliest classes too."""
    if photographs:
        return [top(1, "accuracy"), top(5, "top5")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
