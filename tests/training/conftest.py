"""Fixtures of the tests of training; they import as they run, for Keras is imported after this file."""

import subprocess

import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    from resumed import main

    out = tmp_path_factory.mktemp("whole")
    assert main(out) == 0
    return out


@pytest.fixture
def copy(whole, tmp_path):
    """The same run, with the file of its result removed: as if it was killed at its very end."""
    from resumed import RUN

    out = tmp_path / "copy"
    subprocess.run(["cp", "-r", whole, out], check=True)
    (out / RUN / "result.json").unlink()
    return out


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(
        "seed: 3\ntrain: {epochs: 7}\n"
        "grid: {model.bottleneck: [false, true], model.depth: [20, 26], model.unit: [baseline, conv bn | relu]}\n"
    )
    return str(path)
