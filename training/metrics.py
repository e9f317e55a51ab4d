"""Accuracies."""

import keras


def in_top(k):
    """A function of labels (batch,) and logits (batch, classes): 1.0 where the label is among the k greatest logits.

    Of equal logits those of the smaller index come first, as in argmax. A logit that is not a number is in no top.
    """

    def matches(labels, logits):
        ops = keras.ops
        labels = ops.cast(ops.reshape(labels, (-1, 1)), "int32")
        logits = ops.cast(logits, "float32")
        own = ops.take_along_axis(logits, labels, axis=1)
        earlier = ops.arange(logits.shape[-1]) < labels
        behind = ops.where(earlier, logits < own, logits <= own)
        return ops.cast(ops.sum(ops.cast(ops.logical_not(behind), "int32"), axis=1) < k, "float32")

    return matches


def of(photographs: bool) -> list[keras.metrics.Metric]:
    """The metrics of a run: the accuracy, and for photographs (4.3) the one among the five likeliest classes too."""
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    return [accuracy, keras.metrics.MeanMetricWrapper(in_top(5), name="top5")] if photographs else [accuracy]
