"""A run says what it computes on, and takes no fewer devices than were asked for."""

import errno
import fcntl

import keras
import pytest

from training.devices import strategy
from training.errors import UserError
from training.lock import Lock

CARDS = ["0000:01:00.0", "0000:02:00.0"]


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """NVIDIA's driver shows two GPUs, and no variable hides them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(strategy, "DRIVER", tmp_path / "gpus")
    for card in CARDS:
        (tmp_path / "gpus" / card).mkdir(parents=True)


def listed(monkeypatch, *names):
    """Keras lists these devices."""
    monkeypatch.setattr(
        keras.distribution, "list_devices", lambda kind="": [name for name in names if name.startswith(kind)]
    )
    strategy.start.cache_clear()


@pytest.mark.parametrize("names", [["cpu:0"], ["cpu:0", "gpu:0"]])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_several_devices_that_are_not_there_are_refused(monkeypatch, names, backend):
    listed(monkeypatch, *names)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(UserError, match=f"two devices or more for mirrored, found {names[-1]} alone"):
        strategy.start("mirrored")


def test_mirrored_on_one_device_ends_a_script_before_it_writes(train, monkeypatch, driver):
    listed(monkeypatch, "cpu:0")
    code, out, err = train("--train.strategy mirrored")
    assert (code, out) == (2, "")
    warning, error = err.splitlines()
    assert "driver shows 2 GPUs, and tensorflow sees none" in warning
    assert error == "error: train.strategy: expected two devices or more for mirrored, found cpu:0 alone"
    assert not train.runs.exists()


@pytest.mark.parametrize(
    ("names", "replicas", "said"),
    [
        (["cpu:0"], 1, "cpu:0"),
        (["cpu:0", "gpu:0"], 1, "gpu:0"),
        (["cpu:0", "gpu:0", "gpu:1"], 1, "gpu:0"),
        (["cpu:0", "gpu:0", "gpu:1"], 2, "gpu:0, gpu:1"),
        (["cpu:0", "cpu:1"], 2, "cpu:0, cpu:1"),
    ],
)
def test_what_computes_has_a_name(monkeypatch, names, replicas, said):
    listed(monkeypatch, *names)
    assert strategy.names(strategy.Devices(replicas=replicas)) == said


def test_the_first_line_of_a_run_names_its_device(train):
    code, out, err = train("--train.epochs 1 --train.drops []")
    assert (code, err) == (0, "")
    _, first, *_ = out.strip().splitlines()
    assert f", on {keras.distribution.list_devices()[0]} (tensorflow): " in first


@pytest.mark.parametrize(("variable", "names"), [(None, ["cpu:0", "gpu:0"]), ("", ["cpu:0"])])
def test_gpus_that_are_seen_or_hidden_on_purpose_are_worth_no_line(driver, monkeypatch, capsys, variable, names):
    listed(monkeypatch, *names)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    strategy.warn_of_unseen_gpus()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "found"), [(errno.EAGAIN, r"\(another process\)"), (errno.ENOLCK, "found No locks available")]
)
def test_a_lock_that_a_file_system_does_not_give_is_no_other_process(tmp_path, monkeypatch, number, found):
    def refuse(file, operation):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=found), Lock(tmp_path):
        pass
