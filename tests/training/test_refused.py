"""A run goes on as it began, in one process, or not at all."""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess

import pytest
from resumed import OPTIONS, RUN, assert_same_end, files, main

from training import cli, records
from training.data import sources
from training.devices import environment
from training.lock import Lock


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


def test_a_second_process_leaves_a_run_alone_and_is_told_who_is_there(copy, capfd):
    before = files(copy)
    with Lock(copy / RUN):
        assert main(copy) == 0
    holder = f"{copy / RUN} (pid {os.getpid()} on {socket.gethostname()})"
    assert f"0 trained here, 0 by other processes, 0 left, 1 held by others: {holder}\n" in capfd.readouterr().out
    assert files(copy) == before
    assert main(copy) == 0  # released
