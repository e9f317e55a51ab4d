"""The layer and the networks on other backends: the same weights give the same logits."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def forward(backend, folder):
    script = ["tests/backend_forward.py", str(folder / "weights.npz"), str(folder / f"{backend}.npz")]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *script], cwd=ROOT, env=environment, check=True)
    return np.load(folder / f"{backend}.npz")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_unit_gives_the_logits_of_tensorflow(backend, tmp_path):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed; `make test-{backend}` installs it and runs this test")
    ours, theirs = forward("tensorflow", tmp_path), forward(backend, tmp_path)
    assert len(ours.files) == 33
    for key in ours.files:
        scale = np.abs(ours[key]).max()
        assert 1e-3 < scale < 1e4, key
        np.testing.assert_allclose(theirs[key] / scale, ours[key] / scale, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("module", ["iclayer", "models"])
def test_layer_and_networks_do_not_import_tensorflow_themselves(module):
    sources = "".join(path.read_text() for path in (ROOT / module).glob("*.py"))
    assert "import tensorflow" not in sources
