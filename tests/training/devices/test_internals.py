"""Private names of Keras stand in one module of each package, and do there what is asked of them."""

import ast
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.devices import internals

PACKAGES = ("iclayer", "models", "training", "reporting")
ALLOWED = {"_exit", "_registry"}  # of os, and of TensorFlow, which test_train.py holds
NAMES = {
    "_backend_update_step": "optimizers update all variables elsewhere",
    "_get_variable_index": "optimizers number their variables in another way",
    "_momentums": "Adam keeps its first averages elsewhere",
    "_velocities": "Adam keeps its second averages elsewhere",
    "_symbolic_build": "models build metrics and optimizer elsewhere",
    "_maybe_symbolic_build": "fit builds a model in another way",
}


def private(path):
    """Private names that a file takes from what is not its own."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            names = [node.attr]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        yield from (name for name in names if name.startswith("_") and not name.startswith(("__", "_pywrap")))


def test_private_names_stand_in_one_module_of_each_package():
    files = [path for package in PACKAGES for path in pathlib.Path(package).rglob("*.py")]
    found = {str(path): {*private(path)} - ALLOWED for path in files if path.name != "internals.py"}
    assert {path: names for path, names in found.items() if names} == {}
    assert {*private(pathlib.Path("training/devices/internals.py"))} == NAMES.keys()


def small():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse", weighted_metrics=["mae"])
    return model


@pytest.mark.parametrize("name", NAMES)
def test_keras_still_has(name):
    model = small()
    model.optimizer.build(model.trainable_variables)
    assert hasattr(model, name) or hasattr(model.optimizer, name), f"Keras {keras.__version__}: {NAMES[name]}"


def test_the_averages_of_adam_are_those_of_its_variable():
    first, second = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    adam = keras.optimizers.Adam(beta_1=0.9, beta_2=0.99)
    adam.build([first, second])
    adam.apply([keras.ops.array([1.0, 2.0]), keras.ops.array([3.0])], [first, second])
    for variable, gradient in ((first, np.array([1.0, 2.0])), (second, np.array([3.0]))):
        m, v = (keras.ops.convert_to_numpy(average) for average in internals.averages(adam, variable))
        np.testing.assert_allclose(m, 0.1 * gradient, rtol=1e-6)
        np.testing.assert_allclose(v, 0.01 * gradient**2, rtol=1e-5)


def test_a_hooked_optimizer_prepares_once_and_updates_each_variable():
    first, second = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    sgd = keras.optimizers.SGD(0.5)
    sgd.build([first, second])
    prepared = []

    def prepare(learning_rate):
        prepared.append(float(learning_rate))
        return learning_rate, 10.0

    internals.hook_updates(
        sgd, prepare, lambda gradient, variable, scalars: variable.assign_sub(gradient * scalars[0] * scalars[1])
    )
    sgd.apply([keras.ops.array([1.0, 1.0]), keras.ops.array([2.0])], [first, second])
    assert prepared == [0.5]
    assert [*np.array(first), *np.array(second)] == [-4.0, -3.0, -7.0]
    assert int(sgd.iterations) == 1


def test_what_is_built_for_fit_is_built_once(monkeypatch):
    batch = keras.KerasTensor((4, 3)), keras.KerasTensor((4, 2)), keras.KerasTensor((4,))
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
        model = small()
        internals.build_for_fit(model, batch)
    assert [metric.name for metric in model.metrics] == ["loss", "compile_metrics"]
    assert model.optimizer.built
    monkeypatch.setattr(model, "_symbolic_build", lambda *args, **kwargs: pytest.fail("fit builds a model again"))
    model.fit(np.ones((4, 3)), np.ones((4, 2)), sample_weight=np.ones(4), verbose=0)
