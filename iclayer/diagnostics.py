"""What reaches the weight layers of a Keras model, and what the paper and Li et al. 2018 say matters of it."""

import contextlib
import functools
import warnings
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from iclayer.errors import require
from iclayer.figure import figure
from iclayer.fused import Uout
from iclayer.insert import HARMLESS
from iclayer.internals import layers_within, path_within, watched
from iclayer.measures import Moments, NormInput, WeightInput, batches_of, positions
from iclayer.weights import FEEDFORWARD, MEASURED, neuron_axes

__all__ = ["diagnose", "figure", "recomputed_statistics"]

GRADIENTS = 16  # images whose gradients are looked at
DROPOUTS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    Uout,
)
NORMS = keras.layers.BatchNormalization
NO_MATRIX = (
    *HARMLESS,
    keras.layers.Normalization,
    keras.layers.SpectralNormalization,
)  # no inputs are multiplied by it
COLUMNS = (
    *("layer", "kind", "mode", "channels", "constant", "mean_abs_correlation", "max_abs_correlation"),
    *("mutual_information", "mutual_information_shuffled", "eigenvalue_spread", "nonnegative", "one_sign"),
    *("variance_shift", "accuracy"),
)


def diagnose(
    model, images, labels=None, *, loss=None, statistics=None, batch_size=64, pairs=10, seed=0
) -> pd.DataFrame:
    """Measures the input of every weight layer, every batch normalization, and the accuracy of a model.

    Weight layers are dense, convolutional, transposed, depthwise, separable and recurrent ones and `EinsumDense`, those
    within attention and wrappers too; of recurrent ones the sequence that comes in is measured, and not their states.
    Others that hold a matrix, and those whose call is not seen (it was bound before, or is traced), are named in a
    warning.

    The model is run batch by batch in training mode (statistics of the batch, dropout) and in inference mode, and is
    left as it was. Positions of feature maps are samples, of which at most 4,096 a batch are drawn for weight layers.
    The memory needed is that of a forward pass of a batch, of a backward pass of 16 images, and of the covariances of
    one mode.

    Args:
        model: any built `keras.Model`, functional or subclassed, of one output.
        images: array (N, ...), or a list or dict of such for several inputs.
        labels: int array (N,) of places in the outputs, for gradients and accuracies; None leaves these out.
        loss: a Keras loss of labels and outputs, or its name; None is the one that the model is compiled with.
        statistics: images as above, to recompute the statistics of batch normalizations from; None takes `images`.
        batch_size: int, images a batch.
        pairs: int, how many pairs of channels, drawn at random, mutual information is the mean of.
        seed: int, of what is drawn.

    Returns:
        A DataFrame of a row for each layer and mode ("training", "inference"), in the order in which the layers are
        called, and of one for the model in inference and with statistics that are "recomputed" with dropout off:

        - `model`, `layer`, `kind`, `mode`: the names (a path where a layer is in another), the class of the layer
          ("Model" for the model's), the mode.
        - `channels`: of the input; `constant` of them do not vary, and are left out of correlations and eigenvalues.
        - `mean_abs_correlation`, `max_abs_correlation`: between channels (3.2).
        - `mutual_information`: nats, of pairs of channels (3.1), by nearest neighbours (Kraskov et al. 2004) on 1,000
          positions, 16 to 250 of a batch and each batch by itself: between batches, a batch's statistics tell one
          channel what another one is. NaN where batches have fewer. `mutual_information_shuffled`, of the same pairs
          made independent, is the estimator's bias, 0.05 where a batch has 64 positions.
        - `eigenvalue_spread`: of the covariance, largest by smallest (section 2); infinite where it is singular.
        - `nonnegative`: share of inputs that are 0 or above (5.1).
        - `one_sign`: share of neurons whose incoming weights' gradients by a sample all have one sign (5.1), among
          those where one is not 0, on the first 16 images, in training. On TensorFlow only, and not of recurrent
          layers.
        - `variance_shift`: of batch normalizations, max(r, 1/r) in the mean of channels, where r is the variance of the
          input in inference by the moving variance, epsilon added to both (Li et al. 2018).
        - `accuracy`: share of `labels` that the largest output names.

    Raises:
        ValueError: the model is not built, or has no weight layer or several outputs, or an argument is not valid.
    """
    loss = _check(model, images, labels, loss, batch_size, pairs)
    batches = functools.partial(batches_of, batch_size=batch_size)
    state = _state(model)
    rows: dict[tuple, dict[str, Any]] = {}
    try:
        for mode in ("training", "inference"):
            seen, outputs = _measure(model, batches(images), mode == "training", pairs, seed)
            for layer, measured in seen.items():
                rows[mode, layer] = {"layer": path_within(model, layer), "mode": mode, **measured.row()}
            _restore(model, state)
        _warn_of_unseen(model, {layer for _, layer in rows})
        if labels is not None:
            for layer, share in _one_sign(model, images, labels, loss).items():
                rows["training", layer]["one_sign"] = share
            _restore(model, state)
            rows["inference", None] = _accuracy(model, "inference", outputs, labels)
            with recomputed_statistics(model, images if statistics is None else statistics, batch_size):
                outputs = [_output(model, batch, training=False) for batch in batches(images)]
            rows["recomputed", None] = _accuracy(model, "recomputed", outputs, labels)
    finally:
        _restore(model, state)
    frame = pd.DataFrame(rows.values(), columns=COLUMNS)
    frame.insert(0, "model", model.name)
    return frame


@contextlib.contextmanager
def recomputed_statistics(model, images, batch_size=64):
    """Gives batch normalizations, for the time being, the mean and variance of their inputs, with dropout off.

    Args:
        model: a built `keras.Model`.
        images: array (N, ...), or a list or dict of such, that the statistics are computed from.
        batch_size: int, images a batch: layers before are normalized by the batch.
    """
    state, layers = _state(model), layers_within(model)
    rates = {layer: layer.rate for layer in layers if isinstance(layer, DROPOUTS)}
    moments: dict[keras.layers.Layer, Moments] = {}

    def see(layer, inputs, outputs):
        moments.setdefault(layer, Moments()).add(positions(inputs, layer.axis))

    try:
        for layer in rates:
            layer.rate = 0.0
        with watched([layer for layer in layers if isinstance(layer, NORMS)], see):
            for batch in batches_of(images, batch_size):
                model(batch, training=True)
        _restore(model, state)
        for layer, seen in moments.items():
            layer.moving_mean.assign(seen.mean)
            layer.moving_variance.assign(seen.variance)
        yield
    finally:
        for layer, rate in rates.items():
            layer.rate = rate
        _restore(model, state)


def _check(model, images, labels, loss, batch_size, pairs):
    """The loss; raises a ValueError that names the argument that is not valid."""
    require("model", isinstance(model, keras.Model) and model.built, "a built `keras.Model`", repr(model))
    weights = any(isinstance(layer, MEASURED) for layer in layers_within(model))
    require("model", weights, "a weight layer in it", repr(model))
    for argument, value in (("batch_size", batch_size), ("pairs", pairs)):
        require(argument, isinstance(value, int) and value > 0, "an int above 0", repr(value))
    arrays = keras.tree.flatten(images)
    kinds = {type(array).__name__ for array in arrays}
    require("images", all(hasattr(array, "shape") for array in arrays), "an array for each input", kinds)
    counts = {len(array) for array in arrays}
    require("images", len(counts) == 1 and min(counts) > 1, "at least 2 images, as many of each input", counts)
    if labels is None:
        return None
    require("labels", np.shape(labels) == (min(counts),), f"shape {(min(counts),)}", f"shape {np.shape(labels)}")
    outputs = _output(model, next(batches_of(images, 2)), training=False)
    require("model", outputs.ndim == 2, "outputs (images, classes), to compare labels with", f"shape {outputs.shape}")
    least, most = np.min(labels), np.max(labels)
    require("labels", 0 <= least <= most < outputs.shape[1], f"0 to {outputs.shape[1] - 1}", f"{least} to {most}")
    loss = loss or getattr(model, "loss", None)
    require("loss", loss, "a Keras loss, for the model is not compiled with one", repr(loss))
    return keras.losses.get(loss)


def _numpy(tensor):
    return ops.convert_to_numpy(tensor)


def _state(model):
    return [np.array(_numpy(variable)) for variable in model.non_trainable_variables]


def _restore(model, state):
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        variable.assign(value)


def _measure(model, batches, training, pairs, seed):
    """What was seen, by layer, and the outputs."""
    seen, outputs = {}, []

    def see(layer, inputs, _):
        if layer not in seen:
            seen[layer] = NormInput(layer) if isinstance(layer, NORMS) else WeightInput(layer, pairs, seed)
        seen[layer].add(inputs)

    kinds = MEASURED if training else (*MEASURED, NORMS)
    with watched([layer for layer in layers_within(model) if isinstance(layer, kinds)], see):
        for batch in batches:
            outputs.append(_output(model, batch, training))
    return seen, outputs


def _warn_of_unseen(model, seen):
    """Names the layers that hold a matrix of their own, and the batch normalizations, that were not measured."""
    cells = [layer.cell for layer in seen if isinstance(layer, keras.layers.RNN)]
    measured = {cell.cells[0] if isinstance(cell, keras.layers.StackedRNNCells) else cell for cell in cells} | seen
    unseen = []
    for layer in {model, *layers_within(model)} - measured:
        within = {id(weight) for each in layers_within(layer) for weight in each.weights}
        matrix = any(len(weight.shape) > 1 and id(weight) not in within for weight in layer.weights)
        if (matrix and not isinstance(layer, NO_MATRIX)) or (layer.built and isinstance(layer, NORMS)):
            unseen.append(f"{path_within(model, layer)} ({type(layer).__name__})")
    if unseen:
        found = ", ".join(sorted(unseen))
        warnings.warn(f"Not measured, of another kind or called where it is not seen: {found}", stacklevel=3)


def _output(model, batch, training):
    output = model(batch, training=training)
    require("model", ops.is_tensor(output), "one tensor as its output", f"a {type(output).__name__}")
    return _numpy(output)


def _accuracy(model, mode, outputs, labels):
    found = np.concatenate(outputs).argmax(-1) == np.asarray(labels)
    return {"layer": model.name, "kind": "Model", "mode": mode, "accuracy": found.mean()}


def _one_sign(model, images, labels, loss):
    """By weight layer, the share of neurons where the gradients of a sample's incoming weights all have one sign."""
    if keras.backend.backend() != "tensorflow":
        return {}
    import tensorflow as tf

    calls = []
    with watched(
        [layer for layer in layers_within(model) if isinstance(layer, FEEDFORWARD)],
        lambda layer, inputs, outputs: calls.append((layer, inputs, outputs)),
    ):
        batch = next(batches_of(images, GRADIENTS))
        with tf.GradientTape() as tape:
            value = loss(ops.convert_to_tensor(labels[:GRADIENTS]), model(batch, training=True))
    gradients = tape.gradient(value, [outputs for _, _, outputs in calls])
    signs: dict[keras.layers.Layer, list] = {}
    for (layer, inputs, _), gradient in zip(calls, gradients, strict=True):
        signs.setdefault(layer, []).append(_signs(layer, inputs, gradient))
    found = {layer: np.concatenate(of_layer) for layer, of_layer in signs.items()}
    return {layer: share[~np.isnan(share)].mean() for layer, share in found.items() if not np.isnan(share).all()}


def _signs(layer, inputs, gradient):
    """For each sample and neuron whether its incoming weights' gradients have one sign; nan where all are 0."""
    import tensorflow as tf

    if gradient is None:  # the loss does not depend on this layer
        return np.array([np.nan])
    kernel = layer.weights[0].value
    neurons = neuron_axes(layer)
    incoming = tuple(axis for axis in range(-len(kernel.shape), 0) if axis not in neurons)
    found = []
    for i in range(len(inputs)):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = layer(inputs[i : i + 1])
        of_sample = _numpy(tape.gradient(outputs, kernel, gradient[i : i + 1]))
        same = np.all(of_sample >= 0, axis=incoming) | np.all(of_sample <= 0, axis=incoming)
        found.append(np.where(np.any(of_sample != 0, axis=incoming), same, np.nan).ravel())
    return np.concatenate(found)
