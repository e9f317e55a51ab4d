"""A run goes on exactly where it was, whatever ended it."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
from resumed import OPTIONS, RUN, assert_same_end, files, main

from benchmarks import kill_and_resume
from training import records, run
from training.data.images import ImageSet


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
