"""What this package uses of Keras beyond its promises; `tests/iclayer/test_keras_contract.py` holds each piece."""

import contextlib
import functools

import keras
from keras import ops


class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, whose moving statistics stay where a batch has nothing, or all is masked."""

    @property
    def by_its_batch(self):
        """Whether a batch is normalized by its own mean and variance alone."""
        return not (self.renorm or self.synchronized)

    def _moments(self, inputs, mask):
        """Of the batch; the moving ones, which then stay, where nothing is in it."""
        if mask is None and None not in tuple(inputs.shape):
            return super()._moments(inputs, mask)
        some = ops.size(inputs) > 0 if mask is None else ops.any(mask)
        moving = (self.moving_mean, self.moving_variance)
        found = super()._moments(inputs, mask)
        return tuple(ops.where(some, new, ops.cast(old, new.dtype)) for new, old in zip(found, moving, strict=True))


def next_seed(layer):
    """Of a layer with a seed generator, for a call: its key and the number of the call, ints (2,)."""
    return layer.seed_generator.next()


def layers_within(layer):
    """All layers within a model or layer, at any depth, each once; `keras.Model.layers` gives the outermost alone."""
    return layer._flatten_layers(include_self=False)


def path_within(model, layer):
    """The name of a layer in a model, a path where it is in another; of one that was never called its name alone."""
    return (layer.path or layer.name).removeprefix(f"{model.name}/")


def run_through(model, inputs, call):
    """The outputs of a functional model, where `call(layer, ...)` is called for each call of a layer, in turn.

    `inputs` is one object for each input, and what `call` takes and gives; none a list, tuple or dict.
    """
    return model._run_through_graph(inputs, call_fn=call)


def first_call(layer):
    """The positional and the keyword arguments of the first call of a layer in a functional model."""
    arguments = layer._inbound_nodes[0].arguments
    return arguments.args, arguments.kwargs


@contextlib.contextmanager
def watched(layers, see):
    """Calls `see(layer, inputs, outputs)` after each call of one of `layers`, by a `call` of the layer's own.

    Not seen are calls that are traced, a `call` that was bound before, and the `quantized_call` of a quantized layer.
    """

    def watch(layer):
        call = layer.call

        @functools.wraps(call)
        def seen(*args, **kwargs):
            outputs = call(*args, **kwargs)
            inputs = next(iter((*args, *kwargs.values())))
            if _has_values(inputs):
                see(layer, inputs, outputs)
            return outputs

        layer.call = seen

    before = {layer: vars(layer).get("call") for layer in layers}
    try:
        for layer in before:
            watch(layer)
        yield
    finally:
        for layer, call in before.items():
            del layer.call
            if call is not None:
                layer.call = call


def _has_values(tensor):
    """Whether it is no tensor of a graph or of a function that is traced."""
    try:
        ops.convert_to_numpy(tensor)
    except (NotImplementedError, TypeError):
        return False
    return True
