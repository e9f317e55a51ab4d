"""A grid belongs to as many processes as want to work on it, and each of its runs to one of them."""

import pathlib
import threading
import time

import pytest
from resumed import main

from benchmarks import kill_and_resume
from training import checkpoint, cli, records
from training.lock import Lock

SHORT = "--model.depth 8 --train.epochs 3 --train.drops [2]"


@pytest.fixture
def options(tmp_path):
    """Of two runs that take no time."""
    path = tmp_path / "two.yaml"
    text = pathlib.Path("configs/digits.yaml").read_text().split("grid:")[0]
    path.write_text(text + "grid: {model.unit: [baseline, relu-ic-conv]}\n")
    return f"--config {path} {SHORT}"


def directories(options, out):
    return [run.directory for run in cli.load([*options.split(), "--out", str(out)])[0]]


def test_each_run_is_trained_once_whoever_is_killed_and_ends_as_in_one_process(options, tmp_path):
    options += " --train.threads 1"
    kill_and_resume.finish(tmp_path / "whole", options)
    names = [directory.name for directory in directories(options, tmp_path)]
    for moment in (0, 1.5):
        out = tmp_path / f"shared{moment}"
        lost, taken = kill_and_resume.share(out, options, processes=3, moment=moment)
        assert kill_and_resume.each_once(names, taken, lost)
        for one, other in zip(*(directories(options, each) for each in (tmp_path / "whole", out)), strict=True):
            assert kill_and_resume.same(kill_and_resume.end_of(one), kill_and_resume.end_of(other))


def test_what_another_process_has_is_left_to_it_and_named(options, tmp_path, capfd):
    first, second = directories(options, tmp_path)
    with Lock(first):
        assert main(tmp_path, options) == 0
    assert records.read(second).status == "finished"
    assert not (first / "config.yaml").exists()
    out = capfd.readouterr().out
    assert f"\n1 trained here, 0 by other processes, 0 left, 1 held by others: {first} (pid " in out
    assert "1/2]" not in out


def test_a_run_that_is_free_again_is_taken_over(options, tmp_path, capfd):
    first, second = directories(options, tmp_path)
    held = threading.Event()

    def hold():
        with Lock(first):
            held.set()
            while not (second / "checkpoints" / "epoch-000001.state").exists():
                time.sleep(0.005)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert main(tmp_path, options) == 0
    thread.join()
    assert [records.read(directory).status for directory in (first, second)] == ["finished", "finished"]
    out = capfd.readouterr().out
    assert out.index("[2/2]") < out.index("[1/2]")
    assert "held by others" not in out


def test_what_another_process_ended_meanwhile_is_counted_as_its_own(options, tmp_path, capfd, monkeypatch):
    first, _ = directories(options, tmp_path)
    assert main(tmp_path, f"{options} --model.unit baseline") == 0
    capfd.readouterr()
    check, calls = records.check, []

    def new_at_first(run):
        calls.append(run)
        return "new" if len(calls) == 1 else check(run)

    monkeypatch.setattr(records, "check", new_at_first)
    assert main(tmp_path, options) == 0
    assert calls[0].directory == first
    assert "\n1 trained here, 1 by other processes, 0 left, 0 held by others\n" in capfd.readouterr().out


def test_a_record_with_which_another_process_goes_on_is_no_broken_one(copy_of_interrupted, monkeypatch):
    directory, seal = copy_of_interrupted, records._seal

    def go_on(*arguments):
        (directory / "result.json").unlink(missing_ok=True)
        (directory / "env.json").write_text("{}")
        return seal(*arguments)

    monkeypatch.setattr(records, "_seal", go_on)
    assert records.read_result(directory) is None


@pytest.fixture
def copy_of_interrupted(copy):
    from resumed import RUN

    records.write_result(copy / RUN, "interrupted")
    assert records.read_result(copy / RUN)["status"] == "interrupted"
    return copy / RUN


def test_a_checkpoint_that_another_process_has_swept_up_is_no_broken_one(copy, monkeypatch, capfd):
    from resumed import RUN

    folder = copy / RUN / "checkpoints"
    there, calls = checkpoint._files, []

    def with_one_that_goes(folder):
        calls.append(folder)
        return [folder / "epoch-000004.state"] * (len(calls) == 1) + there(folder)

    monkeypatch.setattr(checkpoint, "_files", with_one_that_goes)
    assert checkpoint.newest(folder).epochs == 6
    assert len(calls) == 2
    assert capfd.readouterr().err == ""
