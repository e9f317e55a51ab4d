"""A run depends on its config alone: not on what a user's machine has set, nor on its system or processor."""

import contextlib
import gc
import importlib
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from training.devices import backend
from training.errors import UserError

FEW = settings.default.max_examples // 25  # each starts a process; `--hypothesis-profile thorough` has 100


@pytest.fixture(scope="module")
def on():
    """Trains on another machine: `on(keras_json=..., KERAS_...=..., without=[...])` gives what came of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.devices.other_machines"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def ask(keras_json="{}", without=(), **environment):
        machine = {"keras_json": keras_json, "environment": environment, "without": without}
        process.stdin.write(json.dumps(machine) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.communicate()


@pytest.fixture(scope="module")
def ours(on):
    answer = on()
    assert answer["code"] == 0, answer["printed"]
    assert len(answer["history"]) == 3
    return answer["history"]


known = st.fixed_dictionaries(
    {},
    optional={
        "floatx": st.sampled_from(["float16", "bfloat16", "float32", "float64", "float8", 16, None]),
        "epsilon": st.one_of(st.floats(), st.sampled_from([1, "1e-7", None])),
        "image_data_format": st.sampled_from(["channels_first", "channels_last", "NCHW", None]),
        "backend": st.sampled_from(["tensorflow", "jax", "torch", "numpy", "openvino", "theano", "", None, 3]),
        "nnx_enabled": st.sampled_from([True, False, "yes"]),
        "max_epochs": st.integers(0, 1),
    },
)
anything = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3)
files = st.one_of(known.map(json.dumps), anything.map(json.dumps), st.text(st.characters(codec="utf-8")))


@settings(max_examples=FEW, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keras_json=files)
@example('{"floatx": "float16"}')
@example('{"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first"}')
@example('{"backend": "jax"}')
@example("[1]")
def test_no_keras_json_changes_a_digit(on, ours, keras_json):
    answer = on(keras_json)
    assert (answer["code"], answer["history"]) == (0, ours), answer["printed"]
    assert answer["kept"]


@pytest.mark.parametrize("name", ["KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"])
def test_no_variable_of_keras_changes_a_run(on, ours, name):
    answer = on(**{name: "1"})
    assert (answer["code"], answer["history"]) == (0, ours), answer["printed"]


def test_a_system_without_what_windows_lacks_trains_alike(on, ours):
    functions = ["os.set_blocking", "os.sched_getaffinity", "os.uname", "os.getuid", "signal.SIGKILL", "signal.SIGUSR1"]
    answer = on(without=["fcntl", "resource", "termios", *functions])
    assert (answer["code"], answer["history"]) == (0, ours), answer["printed"]


def test_without_fcntl_a_run_has_one_process_too_and_that_of_a_dead_one_is_free(tmp_path):
    code = (
        "import pathlib, os, sys; sys.modules['fcntl'] = None\n"
        "from training.errors import UserError; from training.lock import Lock\n"
        f"directory = pathlib.Path({str(tmp_path)!r})\n"
        "with Lock(directory):\n"
        "    try:\n"
        "        with Lock(directory): print('both')\n"
        "    except UserError as error: print(f'(pid {os.getpid()} on {os.uname().nodename})' in str(error))\n"
        f"    sys.stdout.flush(); os.kill(os.getpid(), {signal.SIGKILL})\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "True\n", "")


@pytest.fixture
def importing(monkeypatch):
    """`import_keras` as before Keras is imported, on such a machine: gives what it leaves in the environment."""

    def do(machine="x86_64", error=None, **environment):
        with monkeypatch.context() as patched:
            patched.delitem(sys.modules, "keras")
            for name in ("KERAS_BACKEND", "KERAS_HOME", "TF_ENABLE_ONEDNN_OPTS", *environment):
                patched.setenv(name, environment.get(name, ""))
                if name not in environment:
                    patched.delenv(name)
            patched.setattr(platform, "machine", lambda: machine)
            seen = {}

            def import_module(name):
                seen.update(os.environ)
                if error:
                    raise error

            patched.setattr(importlib, "import_module", import_module)
            backend.import_keras()
            return seen, dict(os.environ)

    return do


@pytest.mark.parametrize(
    ("machine", "said", "value"),
    [("x86_64", None, "1"), ("AMD64", "", "1"), ("x86_64", "0", "0"), ("x86_64", "1", "1"), ("arm64", None, None)],
)
def test_onednn_is_on_where_tensorflow_is_x86_and_the_user_has_not_said_otherwise(importing, machine, said, value):
    environment = {} if said is None else {"TF_ENABLE_ONEDNN_OPTS": said}
    seen, _ = importing(machine, **environment)
    assert seen.get("TF_ENABLE_ONEDNN_OPTS") == value


def test_what_is_recorded_of_onednn_is_what_tensorflow_does():
    assert backend.onednn() == (os.environ["TF_ENABLE_ONEDNN_OPTS"].lower() in ("1", "true"))


def test_the_users_own_keras_home_is_left_alone(importing):
    seen, after = importing(KERAS_HOME="mine")
    assert seen["KERAS_HOME"] == os.devnull
    assert after["KERAS_HOME"] == "mine"
    _, after = importing()
    assert "KERAS_HOME" not in after


@pytest.mark.parametrize(("named", "found"), [("", "none, which is tensorflow"), ("jax", "jax")])
def test_a_backend_that_cannot_be_imported_is_named(importing, named, found):
    error = ModuleNotFoundError("No module named 'it'")
    with pytest.raises(UserError) as raised:
        importing(error=error, KERAS_BACKEND=named)
    assert str(raised.value) == (
        f"KERAS_BACKEND: expected an installed one of tensorflow, jax, torch, found {found}: No module named 'it'"
    )


@pytest.mark.parametrize("error", [None, ModuleNotFoundError()])
@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_after_the_import_where_it_was_before(importing, collecting, error):
    try:
        if not collecting:
            gc.disable()
        with contextlib.suppress(UserError):
            importing(error=error)
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_keras_is_imported_without_what_nothing_here_uses_of_it_and_that_can_be_imported_later():
    code = (
        "import sys; from training.devices import backend; backend.import_keras();"
        "assert not sys.modules.keys() & {*backend.UNUSED};"
        "import keras, matplotlib.pyplot, sklearn.datasets; keras.Sequential([keras.layers.Dense(1)])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("named", ["numpy", "openvino", "nonsense"])
def test_a_backend_that_cannot_train_is_refused(importing, named):
    with pytest.raises(UserError, match=f"^KERAS_BACKEND: expected .* found {named}$"):
        importing(KERAS_BACKEND=named)


def pins(name):
    """Packages of a file of requirements, with their versions."""
    lines = pathlib.Path(name).read_text().splitlines()
    found = [line.partition(" ;")[0].partition("==") for line in lines if not line.startswith("#")]
    return {package: version for package, _, version in found}


@pytest.mark.parametrize("name", ["jax", "torch", "cuda"])
def test_every_environment_has_the_same_versions(name):
    base, other = pins("requirements.txt"), pins(f"requirements-{name}.txt")
    assert {package: other[package] for package in other.keys() & base.keys()} == {
        package: base[package] for package in other.keys() & base.keys()
    }
    if name == "cuda":
        assert base.keys() - other.keys() == {"tensorflow-cpu"}
        assert all(package.startswith("nvidia-") for package in other.keys() - base.keys())
