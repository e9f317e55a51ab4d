"""A run goes on exactly where it was, whatever ended it; and what cannot go on says so."""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from benchmarks import kill_and_resume
from training import cli, records, run
from training.data import sources
from training.data.images import ImageSet
from training.devices import environment
from training.lock import Lock

OPTIONS = "--config configs/digits.yaml --model.unit relu-ic-conv --model.depth 8 --train.epochs 6 --train.drops [4]"
RUN = cli.load([*OPTIONS.split(), "--out", "."])[0][0].directory


def main(out, options=OPTIONS):
    import train_cifar

    return train_cifar.main([*options.split(), "--out", str(out)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    assert main(out) == 0
    return out


@pytest.fixture
def copy(whole, tmp_path):
    """The same run, with the file of its result removed: as if it was killed at its very end."""
    out = tmp_path / "copy"
    subprocess.run(["cp", "-r", whole, out], check=True)
    (out / RUN / "result.json").unlink()
    return out


def files(directory):
    return {
        path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and not path.name.startswith("lock")
    }


def assert_same_end(out, whole):
    assert kill_and_resume.same(kill_and_resume.end(out), kill_and_resume.end(whole))


def test_two_kills_one_of_them_while_a_file_is_written_leave_no_trace(whole, tmp_path):
    directory = tmp_path / RUN
    assert "epoch-000001" in kill_and_resume.kill(kill_and_resume.start(tmp_path, OPTIONS), directory, 0, writing=2)
    assert records.read(directory).status == "unfinished"
    assert (directory / "checkpoints" / "lock").exists()  # stale now, and taken over
    kill_and_resume.kill(kill_and_resume.start(tmp_path, OPTIONS), directory, 1, writing=0)
    kill_and_resume.finish(tmp_path, OPTIONS)
    assert_same_end(tmp_path, whole)
    environment = records.read(directory).environment
    assert environment["earlier_sessions"][0]["from_epoch"] == 1 < environment["from_epoch"]


def send(number, path):
    """Sends this process a signal once `path` is there."""

    def wait():
        while not path.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_sigterm_ends_a_grid_cleanly_and_the_same_command_goes_on(whole, tmp_path, capfd):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    path = tmp_path / "digits.yaml"
    path.write_text(
        pathlib.Path("configs/digits.yaml").read_text().split("grid:")[0]
        + "grid: {model.depth: [8], model.unit: [baseline, relu-ic-conv]}\n"
    )
    options = f"--config {path} --train.epochs 6 --train.drops [4]"
    first, second = (tmp_path / "digits" / f"8-{unit}-epochs-6-drops-4-seed0" for unit in ("baseline", "relu-ic-conv"))
    thread = send(signal.SIGTERM, second / "checkpoints" / "epoch-000002.state")
    assert main(tmp_path, options) == 130
    thread.join()
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    out, err = capfd.readouterr()
    assert "the same command goes on" in out
    assert "Traceback" not in err
    kept = files(first)
    assert records.read(first).status == "finished"
    interrupted = records.read(second)
    assert interrupted.status == "interrupted"
    assert 2 <= interrupted.result["epochs"] < 6
    assert main(tmp_path, options) == 0
    assert "finished already" in capfd.readouterr().out
    assert files(first) == kept
    history = records.read(second).history.drop(columns=["seconds", "images_per_second"])
    assert history.equals(kill_and_resume.end(whole)[1])


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_ctrl_c_after_it_ends_at_once(first):
    code = (
        "import hashlib; from training.interrupt import Interruption\n"
        "with Interruption() as interruption:\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"  # minutes in C, as a step of the backend may be
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(first)
    assert [process.stderr.readline() for _ in range(2)] == [
        "\n",
        "ending after this batch; Ctrl-C again ends at once\n",
    ]
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert process.stderr.read() == ""


def test_a_run_that_was_killed_at_its_very_end_ends(copy, whole):
    assert main(copy) == 0
    assert_same_end(copy, whole)


@pytest.mark.parametrize("fault", ["flipped", "truncated"])
def test_a_broken_newest_checkpoint_costs_an_epoch_and_no_more(fault, copy, whole, capfd):
    path = copy / RUN / "checkpoints" / "epoch-000006.state"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content if fault == "flipped" else content[:-1000])
    assert main(copy) == 0
    out, err = capfd.readouterr()
    assert err.count("\n") == err.count("warning: ") == 1
    assert f"{path}: expected a checkpoint as it was written" in err
    assert "epochs 6 to 6" in out
    assert_same_end(copy, whole)


def test_where_no_checkpoint_is_whole_the_run_is_refused_and_never_resuming_starts_over(copy, whole, capfd):
    paths = sorted((copy / RUN / "checkpoints").glob("*.state"))
    for path in paths:
        path.write_bytes(b"")
    before = files(copy)
    for remove in (False, True):
        if remove:
            for path in paths:
                path.unlink()
                del before[path]
        assert main(copy) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        assert "`--resume never` starts this run over" in err
        assert files(copy) == before
    assert main(copy, f"{OPTIONS} --resume never") == 0
    assert "epochs 1 to 6" in capfd.readouterr().out
    assert_same_end(copy, whole)
    assert records.read(copy / RUN).environment["earlier_sessions"] == []


def test_never_resuming_leaves_a_finished_run_alone(whole):
    before = files(whole / RUN)
    assert main(whole, f"{OPTIONS} --resume never") == 0
    assert files(whole / RUN) == before


def test_what_changes_no_result_may_change_and_all_else_is_refused(copy, whole, tmp_path, capfd):
    options = f"{OPTIONS} --model.momentum 0.8 --train.precision mixed_bfloat16"
    (other,), _ = cli.load([*options.split(), "--out", str(copy)])
    (copy / RUN).rename(other.directory)
    assert main(copy, options) == 2
    err = capfd.readouterr().err
    assert "model.momentum 0.9 (now 0.8), train.precision float32 (now mixed_bfloat16)" in err
    assert "give another `--out`, or delete that folder" in err
    other.directory.rename(copy / RUN)
    assert main(copy, f"{OPTIONS} --train.tensorboard true --data.data_dir {tmp_path}") == 0
    assert_same_end(copy, whole)


def test_other_images_under_the_same_name_are_refused(copy, capfd, monkeypatch):
    load = sources.load
    monkeypatch.setattr(
        sources, "load", lambda config: dataclasses.replace(load(config), test_labels=load(config).test_labels[::-1])
    )
    before = files(copy)
    assert main(copy) == 2
    assert f"{copy / RUN}: expected the images_sha256 that it began with, " in capfd.readouterr().err
    assert files(copy) == before


def begun_with(copy, **entries):
    """Changes what env.json says of the beginning; None takes an entry out."""
    path = copy / RUN / "env.json"
    environment = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in environment.items() if value is not None}))


def test_another_number_of_replicas_is_refused(copy, capfd):
    begun_with(copy, replicas=2)
    before = files(copy)
    assert main(copy) == 2
    assert f"{copy / RUN}: expected the replicas that it began with, 2, found 1" in capfd.readouterr().err
    assert files(copy) == before


@pytest.mark.parametrize("begun", [True, False, None])
def test_a_run_goes_on_with_onednn_as_it_began(begun, copy, whole, capfd, monkeypatch):
    begun_with(copy, onednn=begun)
    before = files(copy)
    begun = begun is not False  # a record that does not say was made with it on
    monkeypatch.setattr(environment, "onednn", lambda: not begun)
    assert main(copy) == 2
    assert capfd.readouterr().err == (
        f"error: {copy / RUN}: expected the onednn that it began with, {begun}, found {not begun}; "
        f"TF_ENABLE_ONEDNN_OPTS={begun} goes on with it, `--resume never` starts this run over\n"
    )
    assert files(copy) == before
    monkeypatch.setattr(environment, "onednn", lambda: begun)
    assert main(copy) == 0
    assert_same_end(copy, whole)
    assert records.read(copy / RUN).environment["onednn"] is begun


def test_never_resuming_starts_over_with_other_kernels(copy, capfd, monkeypatch):
    begun = environment.onednn()
    monkeypatch.setattr(environment, "onednn", lambda: not begun)
    assert main(copy, f"{OPTIONS} --resume never") == 0
    assert "epochs 1 to 6" in capfd.readouterr().out
    assert records.read(copy / RUN).environment["onednn"] is not begun


def test_what_a_later_run_of_a_grid_cannot_go_on_from_is_said_before_any_is_trained(whole, tmp_path, capfd):
    path = tmp_path / "digits.yaml"
    path.write_text(
        pathlib.Path("configs/digits.yaml").read_text().split("grid:")[0]
        + "grid: {model.unit: [baseline, relu-ic-conv]}\n"
    )
    subprocess.run(["cp", "-r", whole, tmp_path / "runs"], check=True)
    (tmp_path / "runs" / RUN / "result.json").unlink()
    begun_with(tmp_path / "runs", onednn=not environment.onednn())
    options = f"--config {path} --model.depth 8 --train.epochs 6 --train.drops [4]"
    assert main(tmp_path / "runs", options) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "onednn" in err


def test_a_second_process_is_refused_and_told_who_is_there(copy, capfd):
    before = files(copy)
    with Lock(copy / RUN):
        assert main(copy) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert f"pid {os.getpid()} on {socket.gethostname()}" in err
    assert files(copy) == before
    assert main(copy) == 0  # released


def test_a_full_disk_ends_a_run_that_then_goes_on(tmp_path, whole, capfd, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FullAfterTwoEpochs(run.Recorder):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            if epoch == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    with monkeypatch.context() as patched:
        patched.setattr(run, "Recorder", FullAfterTwoEpochs)
        try:
            assert main(tmp_path) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "epoch-000003.state: expected to write" in err
    directory = tmp_path / RUN
    assert sorted(path.name for path in (directory / "checkpoints").glob("epoch*")) == [
        "epoch-000001.state",
        "epoch-000002.state",
    ]
    assert len(records.read(directory).history) == 2
    assert main(tmp_path) == 0
    assert "epochs 3 to 6" in capfd.readouterr().out
    assert_same_end(tmp_path, whole)


def test_a_loss_that_is_not_finite_ends_the_run_with_its_place_and_the_grid_goes_on(train):
    config = "model: {depth: 8}\ntrain: {epochs: 2, optimizer: sgd}\ngrid: {train.learning_rate: [1.0e+30, 0.01]}\n"
    code, out, _ = train(config=config)
    assert code == 3
    diverged, finished = (
        records.read(train.runs / name) for name in ("learning_rate-1e+30-seed0", "learning_rate-0.01-seed0")
    )
    assert (diverged.status, finished.status) == ("diverged", "finished")
    assert diverged.result["diverged_at"] == {"epoch": 1, "step": 2}  # the first loss is that of the initial weights
    assert "not finite at epoch 1, step 2" in out
    assert "1e+30-seed0 (diverged)" in out
    before = files(train.runs)
    code, out, _ = train(config=config)
    assert code == 3  # still: it would diverge again
    assert "diverged already" in out
    assert {path: content for path, content in files(train.runs).items() if path.suffix != ".png"} == {
        path: content for path, content in before.items() if path.suffix != ".png"
    }


def test_a_loss_that_is_not_finite_in_evaluation_alone_is_seen_too(tmp_path, monkeypatch):
    def not_a_number(images, values):
        return normalize(images, values) + np.float32(np.nan if len(values) == 250 else 0)

    normalize = ImageSet.normalize
    monkeypatch.setattr(ImageSet, "normalize", not_a_number)
    assert main(tmp_path) == 3
    assert records.read(tmp_path / RUN).result["diverged_at"] == {"epoch": 1, "step": 22}


def test_tensorboard_is_off_until_it_is_asked_for(whole, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert not (whole / RUN / "tensorboard").exists()
    assert main(tmp_path, f"{OPTIONS} --train.tensorboard true") == 0
    events = EventAccumulator(str(tmp_path / RUN / "tensorboard" / "validation")).Reload()
    logged = [
        keras.ops.convert_to_numpy(
            event.tensor_proto.float_val or np.frombuffer(event.tensor_proto.tensor_content, "f4")
        )[0]
        for event in events.Tensors("epoch_accuracy")
    ]
    assert logged == pytest.approx(list(records.read(tmp_path / RUN).history["val_accuracy"]))
    assert_same_end(tmp_path, whole)
