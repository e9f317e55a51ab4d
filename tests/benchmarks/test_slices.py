"""Table 1 in slices: whatever ends one, the next goes on from it, and no process is left behind."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import types

import pytest

import train_cifar
from benchmarks import table1_slice
from training import cli, grid, records
from training.devices import threads
from training.launch import launcher, local, packing

ROOT = pathlib.Path().absolute()
OUT = pathlib.Path("out")
CELLS = ["--model.depth", "110", "--model.bottleneck", "false", "--model.unit", "relu-ic-conv"]
SEED = [*CELLS, "--seed", "0"]


def directories(keys):
    return [run.directory for run in cli.load(table1_slice.command_line(OUT, keys))[0]]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes a folder of this name, with the configs and the trainer, and goes there; something stands for workers.

    Two cells a seed are left of Table 1.
    """

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "configs").symlink_to(ROOT / "configs")
        (folder / "train_cifar.py").symlink_to(ROOT / "train_cifar.py")
        monkeypatch.chdir(folder)
        return folder

    def standing(run):
        return "finished" if packing.progress(run.directory)[0] else "left"

    monkeypatch.setattr(local, "WORKER", [str(ROOT / "tests/benchmarks/slice_trainer.py")])
    monkeypatch.setattr(grid, "standing", standing)
    monkeypatch.setattr(local, "GRACE", 10)
    monkeypatch.setenv("EPOCHS", "20000")
    monkeypatch.setenv("WHEN_TOLD", "interrupted")
    return make


@pytest.fixture
def two(place):
    """Goes to a place, and gives the directories of the cells of seed 0."""
    place("a place")
    return directories(SEED)


@pytest.fixture
def run(monkeypatch):
    """A slice, whose time is up when `until` is there: gives the exit code."""

    def run(*options, keys=SEED, until=OUT / "never"):
        clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 1e6 * until.exists(), sleep=time.sleep)
        monkeypatch.setattr(launcher, "time", clock)
        monkeypatch.setattr(sys, "argv", ["table1_slice", "--minutes", "1", "--out", str(OUT), *options, *keys])
        return table1_slice.main()

    return run


def send(number, *paths):
    """Sends this process a signal once all of these are there."""

    def wait():
        while not all(path.exists() for path in paths):
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    threading.Thread(target=wait, daemon=True).start()


def facts(directory):
    return json.loads((directory / "env.json").read_text())


def is_over(directory):
    """Whether the process of this run is no more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(facts(directory)["pid"], 0)
        return False
    return True


def epochs(directory):
    return len((directory / "history.csv").read_text().splitlines()) - 1


def carry(folder):
    """Brings what was packed in `folder`, and nothing else, here."""
    (packed,) = (folder / OUT).glob("state.*")
    shutil.copytree(packed, OUT / packed.name)


def test_the_cells_are_those_of_table_1_in_the_order_that_answers_most():
    configs = [run.config for run in cli.load(table1_slice.command_line(OUT, ["--data.data_dir", "a place"]))[0]]
    assert {(config.data.data_dir, config.train.epochs) for config in configs} == {("a place", 200)}
    units = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
    assert [
        (config.seed, config.model.depth, config.model.bottleneck, config.data.name, config.model.unit)
        for config in configs
    ] == list(itertools.product(range(3), (110, 164), (False, True), ("cifar10", "cifar100"), units))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_runs_and_the_next_slice_goes_on_from_what_was_packed(number, two, place, run, monkeypatch):
    here = pathlib.Path.cwd()
    send(number, *(directory / "checkpoints" / "epoch-000003.state" for directory in two))
    assert run("--side_by_side", "2") == 130
    assert all(map(is_over, two))
    begun = {directory: epochs(directory) for directory in two}
    place("elsewhere")
    carry(here)
    monkeypatch.setenv("EPOCHS", str(max(begun.values()) + 1))
    assert run() == 0
    assert {directory: facts(directory)["begun"] for directory in begun} == begun


def test_what_ended_is_not_run_again_and_so_many_run_side_by_side(two, run, monkeypatch, capfd):
    monkeypatch.setenv("EPOCHS", "2")
    monkeypatch.setenv("DIVERGES", "1")
    assert run() == 0
    before = [facts(directory) for directory in two]
    monkeypatch.delenv("DIVERGES")
    assert run("--side_by_side", "2", keys=CELLS) == 0
    assert [facts(directory) for directory in two] == before
    everything = [path.parent for path in OUT.glob("*/*/env.json")]
    assert len(everything) == 6
    assert {facts(directory)["beside"] for directory in everything} <= {1, 2}
    assert f"{two[0]}: 2 epochs" in capfd.readouterr().out


def test_the_runs_get_their_options_whatever_they_hold_and_the_flags_of_the_user(two, run, monkeypatch):
    monkeypatch.setenv("EPOCHS", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    keys = [*SEED, "--data.data_dir", "another place"]
    assert run(keys=keys) == 0
    flags = ["--xla_gpu_autotune_level=0", "--xla_gpu_exclude_nondeterministic_ops=true"]
    for directory in directories(keys):
        assert facts(directory)["options"] == table1_slice.command_line(OUT, keys)
        assert facts(directory)["flags"].split() == flags


def test_a_run_that_cannot_go_on_ends_the_slice(two, run, monkeypatch, capfd):
    monkeypatch.setenv("FAILS", two[0].name)
    assert run("--side_by_side", "2", keys=CELLS) == 2
    assert f"{two[0]}: exit code 1 no space is left" in capfd.readouterr().err
    assert all(map(is_over, two))
    assert sorted(path.parent for path in OUT.glob("*/*/log.txt")) == sorted(two)
    assert list(OUT.glob("state.*"))


def test_a_run_that_fails_when_time_is_up_is_told(two, run, monkeypatch, capfd):
    monkeypatch.setenv("WHEN_TOLD", "failed")
    assert run(until=two[0] / "history.csv") == 2
    assert f"{two[0]}: exit code 1 no space is left" in capfd.readouterr().err


def test_a_run_that_does_not_end_in_time_is_killed_and_packed(two, place, run, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 0.5)
    monkeypatch.setenv("WHEN_TOLD", "nothing")
    here = pathlib.Path.cwd()
    assert run(until=two[0] / "checkpoints" / "epoch-000002.state") == 0
    assert is_over(two[0])
    newest = max(two[0].glob("checkpoints/*.state"))
    place("elsewhere")
    carry(here)
    packing.unpack(OUT)
    assert [path.name for path in two[0].glob("checkpoints/*.state")] == [newest.name]


def test_no_run_is_left_nor_unpacked_when_another_cannot_be_started(two, run, monkeypatch, capfd):
    start = local.start

    def first_alone(arguments, *options):
        if arguments["directory"] == str(two[0]):
            return start(arguments, *options)
        while not (two[0] / "history.csv").exists():
            time.sleep(0.01)
        raise OSError("no process is left")

    monkeypatch.setattr(local, "start", first_alone)
    assert run("--side_by_side", "2") == 2
    assert capfd.readouterr().err.endswith("error: no process is left\n")
    assert is_over(two[0])
    assert list(OUT.glob("state.*"))


def test_keys_that_the_trainer_has_not_are_refused_before_anything_runs(two, run, capfd):
    assert run(keys=["--model.width", "3"]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "model.width" in err
    assert not OUT.exists()


def test_a_run_of_digits_goes_on_elsewhere(place, run, monkeypatch):
    here = place("a place")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    keys = [*SEED, "--data.name", "digits", "--model.depth", "8", "--train.threads", str(threads.number())]
    (directory,) = directories(keys)
    send(signal.SIGTERM, directory / "checkpoints" / "epoch-000002.state")
    assert run(keys=keys) == 130
    begun = records.read(directory)
    assert begun.status == "interrupted"
    place("elsewhere")
    carry(here)
    packing.unpack(OUT)
    send(signal.SIGTERM, directory / "checkpoints" / f"epoch-{len(begun.history) + 1:06d}.state")
    assert train_cifar.main(table1_slice.command_line(OUT, keys)) == 130
    record = records.read(directory)
    assert record.environment["from_epoch"] == len(begun.history) + 1
    assert record.history.head(len(begun.history)).equals(begun.history)
