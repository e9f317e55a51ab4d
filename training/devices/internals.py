"""What this package takes from inside Keras and JAX, for want of a public way; `test_internals.py` holds each piece."""


def hook_updates(optimizer, prepare, update):
    """Has a step call `update(gradient, variable, prepare(learning_rate))` for each variable, on TensorFlow."""
    update_all = optimizer._backend_update_step

    def prepared(gradients, variables, learning_rate):
        update_all(gradients, variables, prepare(learning_rate))

    optimizer._backend_update_step, optimizer.update_step = prepared, update


def averages(adam, variable):
    """The two averages that a built `keras.optimizers.Adam` keeps of a variable."""
    index = adam._get_variable_index(variable)
    return adam._momentums[index], adam._velocities[index]


def jax_has_begun():
    """Whether JAX has taken hold of its devices, and so of its threads."""
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def build_for_fit(model, batch):
    """Builds all that `fit` would build from a first batch (Keras 3.15.1 takes a mean of a tuple over workers there).

    Args:
        model: a compiled `keras.Model`, on TensorFlow.
        batch: `keras.KerasTensor`s of images, labels and weights.
    """
    model._symbolic_build(data_batch=batch)
    model._maybe_symbolic_build = lambda **_: None
