"""IC right before each weight layer of a model that exists (section 3, Fig. 1b)."""

import keras

from iclayer.errors import require
from iclayer.layer import IC, check_arguments
from iclayer.weights import WEIGHT_LAYERS, channel_axis

# Their weights of rank 2 or more multiply no activations that an IC could come before.
HARMLESS = (
    keras.layers.Embedding,
    keras.layers.PReLU,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def insert_ic(model, rate=0.05, replace_norm=False):
    """A copy of a functional model with an IC right before each weight layer, named as that and `_ic`.

    Weight layers are dense, convolutional, transposed, depthwise and separable ones. They keep their weights, and so do
    all other layers. A new IC normalizes by statistics that it has yet to learn, so the copy wants training. Models
    within the model are rewritten too. A weight layer that is right behind an IC gets no other.

    Args:
        model: a functional or built sequential `keras.Model`, such as those of `keras.applications`.
        rate: float, 0 <= rate < 1, the fraction that each IC drops.
        replace_norm: whether the model's batch normalizations are left out.

    Returns:
        A functional `keras.Model` with the model's inputs, outputs and name. It shares nothing with `model`, and is not
        compiled.

    Raises:
        ValueError: the model is neither functional nor sequential, or a layer holds weights where no IC can come before
            them, such as recurrent layers, attention and wrappers.

    Example:

    >>> model = insert_ic(keras.applications.ResNet50(), rate=0.05, replace_norm=True)

    Reference:
        Chen et al. 2019, arXiv 1905.05928, section 3.
    """
    check_arguments(rate)
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    functional = isinstance(model, keras.Model) and isinstance(model, keras.Function)
    require("model", functional, "a functional or built sequential `keras.Model`", repr(model))
    copies, inserted = [], {}

    def copy(layer):
        if isinstance(layer, keras.Model):
            return insert_ic(layer, rate, replace_norm)
        _check(layer)
        unsafe = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}  # it is the user's own code
        copies.append((layer, layer.__class__.from_config(layer.get_config(), **unsafe)))
        return copies[-1][1]

    def call(layer, *args, **kwargs):
        if not args and "inputs" in kwargs:
            args = (kwargs.pop("inputs"),)
        if replace_norm and isinstance(layer, keras.layers.BatchNormalization):
            return args[0]
        if isinstance(layer, WEIGHT_LAYERS) and not isinstance(args[0]._keras_history.operation, IC):
            if layer.name not in inserted:
                inserted[layer.name] = IC(
                    rate, axis=channel_axis(layer), dtype=layer.dtype_policy, name=f"{layer.name}_ic"
                )
            args = (inserted[layer.name](args[0]), *args[1:])
        return layer(*args, **kwargs)

    rewritten = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for old, new in copies:
        if getattr(new, "built", False) and new in rewritten.layers:
            new.set_weights(old.get_weights())
    return rewritten


def _check(layer):
    """Raises a ValueError where `layer` holds weights that no IC can come before."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, (*WEIGHT_LAYERS, *HARMLESS)):
        return
    for weight in layer.weights:
        require(
            "model",
            len(weight.shape) < 2,
            "weights in dense and convolutional layers only",
            f"layer {layer.name!r} ({type(layer).__name__}) with {weight.path} of shape {tuple(weight.shape)}",
        )
