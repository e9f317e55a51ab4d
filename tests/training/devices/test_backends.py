"""The layer, the networks and their training on other backends: the same weights give the same logits and losses."""

import math
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path().absolute()


def outputs(script, backend, folder):
    arguments = [f"tests/training/devices/{script}.py", str(folder / "weights.npz"), str(folder / f"{backend}.npz")]
    environment = {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    environment |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}  # of JAX: two devices of the CPU
    python = sys.executable if backend == "tensorflow" else os.environ[f"{backend.upper()}_PYTHON"]
    subprocess.run([python, *arguments], cwd=ROOT, env=os.environ | environment, check=True)
    return np.load(folder / f"{backend}.npz")


@pytest.fixture
def installed(backend):
    if f"{backend.upper()}_PYTHON" not in os.environ:
        pytest.skip(f"{backend} is in an environment of its own; `make test-{backend}` makes it and runs this test")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_unit_gives_the_logits_of_tensorflow(backend, tmp_path):
    ours, theirs = (outputs("backend_forward", name, tmp_path) for name in ("tensorflow", backend))
    assert len(ours.files) == 78
    for key in ours.files:
        scale = np.abs(ours[key]).max()
        assert 1e-3 < scale < 1e4, key
        np.testing.assert_allclose(theirs[key] / scale, ours[key] / scale, atol=1e-4, err_msg=key)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_has_the_losses_of_tensorflow(backend, tmp_path):
    ours, theirs = (outputs("backend_training", name, tmp_path) for name in ("tensorflow", backend))
    assert len(theirs.files) == {"jax": 5, "torch": 4}[backend]
    for key in theirs.files:
        assert len(set(ours[key])) == 8
        tolerance = 1e-4 if key.endswith("sgd") else 1e-3
        np.testing.assert_allclose(theirs[key], ours[key], rtol=0, atol=tolerance, err_msg=key)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("backend", ["jax"])
def test_several_devices_and_several_steps_a_call_train_as_one_device_does(backend, tmp_path):
    found = outputs("backend_devices", backend, tmp_path)
    for way, devices, calls in (("two", 2, 8), ("one, two steps a call", 1, 4), ("two, two steps a call", 2, 4)):
        assert (found[f"{way}: devices"], len(found[f"{way}: losses"])) == (devices, calls)
        every = found["one: losses"][8 // calls - 1 :: 8 // calls]
        np.testing.assert_allclose(found[f"{way}: losses"], every, rtol=0, atol=1e-6)
        for kind in ("weights", "statistics"):
            ours, theirs = (found[f"{one}: {kind}"] for one in ("one", way))
            assert np.abs(ours - found[f"first {kind}"]).max() > 0.01  # they were trained
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-6, err_msg=f"{way}: {kind}")
    np.testing.assert_array_equal(np.concatenate(found["left on two"]), 2 * found["left on one device"])
    program = str(found["program"])
    assert "all-reduce" in program  # of the moments
    assert not re.search("all-gather|all-to-all|collective-permute", program)
    hashed = {math.prod(map(int, shape.split(","))) for shape in re.findall(r"u32\[([\d,]+)\]", program)}
    assert max(hashed) == 1000  # of 2,000 activations


WITHOUT_A_BACKEND = """
import builtins, importlib, pkgutil, sys
import keras, numpy
imported = builtins.__import__

def refuse(name, globals=None, *args, **kwargs):
    if name.partition(".")[0] in BACKENDS and (globals or {}).get("__name__", "").split(".")[0] in PACKAGES:
        raise ImportError(f"{globals['__name__']} imports {name}")
    return imported(name, globals, *args, **kwargs)

PACKAGES, BACKENDS = ("iclayer", "models"), ("tensorflow", "jax", "torch")
KERNELS = {f"iclayer.fused.{backend}" for backend in BACKENDS}
builtins.__import__ = refuse
keras.backend.backend = lambda: "another"
for package in map(importlib.import_module, PACKAGES):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name not in KERNELS:
            importlib.import_module(module.name)
assert not KERNELS & sys.modules.keys()
import iclayer, models
from iclayer.diagnostics import diagnose

images, labels = numpy.random.default_rng(0).random((8, 16, 16, 1)), numpy.arange(8)
model = models.plain("small", input_shape=(16, 16, 1))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(images, labels, callbacks=[iclayer.AverageStatistics()], verbose=0)
diagnose(model, images, labels)
iclayer.insert_ic(model, replace_norm=True)(images)
models.cifar_resnet(8), models.imagenet_resnet(18)
print("did without")
"""


def test_layer_and_networks_import_no_package_of_a_backend_where_keras_has_another():
    """Keras computes with its own backend here; what is asked of these packages is what they do on another one."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_BACKEND], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "did without\n", done.stderr
