"""IC right before each weight layer of a model that exists (section 3, Fig. 1b)."""

import contextlib
import pathlib
import sys
import tempfile
import warnings

import keras

from iclayer.errors import require
from iclayer.internals import first_call
from iclayer.layer import IC, check_arguments
from iclayer.weights import WEIGHT_LAYERS, channel_axis

# Their weights of rank 2 or more multiply no activations that an IC could come before.
HARMLESS = (
    keras.layers.Embedding,
    keras.layers.PReLU,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.STFTSpectrogram,
)

GRAPHS = (keras.Function, keras.Sequential)  # called anew layer by layer


def insert_ic(model, rate=0.05, replace_norm=False, keep=()):
    """A copy of a functional model with an IC right before each weight layer, named as that and `_ic`.

    Weight layers are dense, convolutional, transposed, depthwise and separable ones. All layers keep their state:
    weights, adapted statistics, vocabularies, random generators, and what layers of one's own save. It passes through a
    temporary file of the model's size. A new IC normalizes by statistics that it has yet to learn, so the copy wants
    training. Models within the model are rewritten too. A weight layer that is right behind an IC gets no other. Layers
    that are kept are copied and called as before, and are named in a warning.

    Args:
        model: a functional or built sequential `keras.Model`, such as those of `keras.applications`.
        rate: float, 0 <= rate < 1, the fraction that each IC drops.
        replace_norm: whether the model's batch normalizations are left out.
        keep: list, tuple or set of names (str) and classes of layers, in the model and in models within it, that get
            no IC and are not left out; a model among them is kept whole.

    Returns:
        keras.Model: functional, with the model's inputs, outputs and name, and of its class where that has no
            `__init__` of its own. It shares nothing with `model` but the functions of Lambda layers, and is not
            compiled.

    Raises:
        ValueError: the model is neither functional nor sequential, or a layer that is not kept holds weights where no
            IC can come before them, such as recurrent layers, attention and wrappers, or Keras cannot save and load a
            layer, or one holds weights of another, or `keep` names what is not there, or the copy is deeper than
            Python's recursion limit lets Keras build.

    Examples:
        >>> model = insert_ic(keras.applications.ResNet50(), rate=0.05, replace_norm=True)

    Reference: Chen et al. 2019, arXiv 1905.05928, section 3.
    """
    check_arguments(rate)
    model = _functional(model)
    left_out = keras.layers.BatchNormalization if replace_norm else ()
    named = _named(model, keep)
    kept = set(named)
    copies: dict = {}
    holders: dict = {}
    inserted: dict = {}
    normalized: dict = {}

    def rewrite(model):
        layers = [layer for layer in model.layers if layer in kept or not isinstance(layer, GRAPHS)]
        for layer in layers:
            _check(layer, layer in kept, holders)
        new = [layer for layer in layers if layer not in copies]
        copies.update(zip(new, _copies(new), strict=True))
        kept.update(copies[layer] for layer in new if layer in kept)
        return keras.models.clone_model(model, clone_function=copy, call_function=call)

    def copy(layer):
        if isinstance(layer, GRAPHS) and layer not in copies:
            copies[layer] = rewrite(_functional(layer))
        return copies[layer] if layer in copies else type(layer).from_config(layer.get_config())

    def call(layer, *args, **kwargs):
        if isinstance(layer, (WEIGHT_LAYERS, left_out)) and layer not in kept:
            args = args or (kwargs.pop("inputs"),)
            if isinstance(layer, left_out):
                return args[0]
            if id(args[0]) not in normalized:
                if layer not in inserted:
                    axis, dtype = channel_axis(layer), layer.dtype_policy
                    inserted[layer] = IC(rate, axis=axis, dtype=dtype, name=f"{layer.name}_ic")
                args = (inserted[layer](args[0]), *args[1:])
        outputs = layer(*args, **kwargs)
        if isinstance(layer, IC):
            normalized[id(outputs)] = outputs
        return outputs

    try:
        rewritten = rewrite(model)
    except RecursionError:  # of Keras, one layer behind the other
        fewer = f"fewer layers in a row than {sys.getrecursionlimit()}, or a higher limit by sys.setrecursionlimit"
        require("model", False, fewer, f"{model!r} and its ICs")
    if named:
        warnings.warn(f"Kept as they are, without IC: {', '.join(map(_name, named))}", stacklevel=2)
    return rewritten


def _functional(model):
    """`model` as a functional one that is not compiled: `clone_model` would compile its copy too."""
    sequential = isinstance(model, keras.Sequential) and model.built
    functional = isinstance(model, keras.Model) and isinstance(model, keras.Function)
    require("model", sequential or functional, "a functional or built sequential `keras.Model`", repr(model))
    inputs, outputs = (model.inputs[0], model.outputs) if sequential else (model.input, model.output)
    plain = keras.Model(inputs, outputs, name=model.name)
    alike = type(model).__init__ is type(plain).__init__  # and so can be called alike
    return type(model)(inputs, outputs, name=model.name) if alike else plain


def _layers(model):
    """The layers of a model, and of models within it, but for inputs."""
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            yield layer
        if isinstance(layer, GRAPHS):
            yield from _layers(layer)


def _named(model, keep):
    """The layers of `model`, and of models within it, that `keep` names, in order and each once."""
    several = isinstance(keep, (list, tuple, set))
    require("keep", several, "a list, tuple or set of names and classes of layers", repr(keep))
    layers = list(dict.fromkeys(_layers(model)))
    named: set = set()
    for wanted in keep:
        known = isinstance(wanted, type)
        found = [layer for layer in layers if (isinstance(layer, wanted) if known else layer.name == wanted)]
        require("keep", found, f"names or classes among {', '.join(map(_name, layers))}", repr(wanted))
        named.update(found)
    return [layer for layer in layers if layer in named]


def _name(layer):
    return f"{layer.name!r} ({type(layer).__name__})"


def _check(layer, kept, holders):
    """Raises a ValueError where `layer` holds weights of another or, not kept, some that no IC can come before."""
    known = kept or isinstance(layer, (*WEIGHT_LAYERS, *HARMLESS))
    for weight in layer.weights:
        received = f"layer {_name(layer)} with {weight.path} of shape {tuple(weight.shape)}"
        alone = "weights in dense and convolutional layers only, and others in layers that `keep` names"
        require("model", known or len(weight.shape) < 2, alone, received)
        require("model", holders.setdefault(id(weight), layer) is layer, "weights that one layer alone holds", received)


def _copies(layers):
    """Layers with the configuration and state of `layers`: what Keras saves and loads."""
    copies = []
    for layer in layers:
        with _refused(f"layer {_name(layer)}"):
            copies.append(_like(layer))

    class Layers(keras.Model):
        """Holds `layers` when it is saved, and `copies` when it is loaded, so that these get the state of those."""

        def __init__(self, layers):
            super().__init__()
            self.held = layers
            self.built = True

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, _):
            return cls(copies)

    with _refused("the state of its layers"), tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "layers.keras"
        keras.saving.save_model(Layers(layers), path)
        keras.saving.load_model(path, custom_objects={"Layers": Layers})
        for layer, copy in zip(layers, copies, strict=True):
            for old, new in zip(layer.variables, copy.variables, strict=True):
                new.assign(old)  # Keras saves no states of random generators
                new.trainable = old.trainable  # nor what is frozen within a layer
    return copies


def _like(layer):
    """A layer with the configuration of `layer`, and variables where that has them."""
    unsafe = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}  # it is the user's own code
    copy = type(layer).from_config(layer.get_config(), **unsafe)
    if unsafe:
        copy.function = layer.function  # one from a configuration does not know the names around it
    if layer.get_build_config() and not copy.built:
        with warnings.catch_warnings(action="ignore"):  # Keras warns of layers within that this does not build
            copy.build_from_config(layer.get_build_config())
    if len(copy.variables) < len(layer.variables):
        args, kwargs = first_call(layer)
        copy.compute_output_spec(*args, **kwargs)  # they are built when it is called
    return copy


@contextlib.contextmanager
def _refused(received):
    try:
        yield
    except OSError:  # there is no place for the file
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        require("model", False, "layers that Keras can save and load", f"{received}, {reason}")
