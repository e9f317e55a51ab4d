"""Threads of the CPU: as many as a run asks for, else as it began with; recorded, and no reason not to compare."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from resumed import OPTIONS, RUN, main

from training import cli, origin, records
from training.devices import threads
from training.errors import UserError

COUNT = """
import sys
from training.devices.backend import import_keras
import_keras()
import keras
from training.devices import threads
threads.use(3)
print(threads.number())
keras.ops.matmul(keras.ops.ones((2, 2)), keras.ops.ones((2, 2)))
threads.use(3)
threads.use(2)
"""


def run_with(tmp_path, *options):
    command = [sys.executable, "train_cifar.py", *OPTIONS.split(), "--out", str(tmp_path), *options]
    environment = {key: value for key, value in os.environ.items() if key != "TF_NUM_INTRAOP_THREADS"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_process_computes_with_as_many_as_it_is_told_from_its_first_step_on():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True)
    assert done.stdout == "3\n"
    changes = os.environ.get("KERAS_BACKEND") == "torch"  # at any time
    assert changes != ("expected 3, with which this process computes already, found 2" in done.stderr)


def test_a_run_records_them_and_goes_on_with_as_many(copy, tmp_path):
    began = {"threads": 3}
    path = copy / RUN / "env.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | began))
    assert run_with(copy).returncode == 0
    assert records.read_environment(copy / RUN)["threads"] == 3
    (copy / RUN / "result.json").unlink()
    done = run_with(copy, "--train.threads", "2")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {copy / RUN}: expected the threads that it began with, 3, found 2; --train.threads 3 goes on with "
        "it, `--resume never` starts this run over\n"
    )


def test_what_does_not_say_how_many_it_began_with_goes_on(copy):
    path = copy / RUN / "env.json"
    began = json.loads(path.read_text())
    assert began.pop("threads") == threads.number()
    path.write_text(json.dumps(began))
    assert main(copy) == 0


def runs(tmp_path, *numbers, asked="null"):
    """Runs that began with so many threads each, None: that did not begin."""
    found = []
    for seed, number in enumerate(numbers):
        (run,), _ = cli.load(["--seed", str(seed), "--out", str(tmp_path), "--train.threads", asked])
        if number is not None:
            run.directory.mkdir(parents=True)
            (run.directory / "env.json").write_text(json.dumps({"threads": number}))
        found.append(run)
    return found


@pytest.mark.parametrize(
    ("asked", "began", "used"),
    [
        ("null", [None, None], []),
        ("null", [None, 3], [3]),
        ("null", [3, 3], [3]),
        ("null", [3, 4], []),  # each of which `origin.check` refuses, or one of them
        ("2", [None, 3], [2]),
    ],
)
def test_a_process_takes_what_is_asked_for_or_what_all_began_with(asked, began, used, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(threads, "use", found.append)
    origin.take_threads(runs(tmp_path, *began, asked=asked))
    assert found == used


def test_a_run_that_starts_over_begins_with_any_number(tmp_path):
    (run,) = runs(tmp_path, 3)
    run.config.resume = "never"
    assert origin.begun_threads(run) is None


def test_several_numbers_in_one_process_are_refused(tmp_path):
    two = [*runs(tmp_path, None, asked="1"), *runs(tmp_path, None, asked="2")]
    with pytest.raises(UserError, match="expected one number for all runs of a process, found 1, 2"):
        origin.take_threads(two)


def test_threads_name_no_run_and_are_at_least_one():
    (one,), _ = cli.load(["--train.threads", "3"])
    assert one.directory == pathlib.Path("runs/default/seed0")
    with pytest.raises(UserError, match=r"train\.threads: expected null or an integer of at least 1, found 0"):
        cli.load(["--train.threads", "0"])
