"""What a launch shows fits the terminal, tells runs apart, and says what went wrong; without one it stays readable."""

import collections
import io
import os

import pytest
import rich.console

from training import cli, records
from training.launch import jobs, view
from training.launch.jobs import Job

REASON = "exit code 2 error: runs/table1/x/checkpoints/epoch-000003.state: expected to write 9 bytes, found a full disk"


def job(run, state, epochs=0, seconds=10.0, **facts):
    """A job in this state, with so many recorded epochs."""
    run.directory.mkdir(parents=True)
    rows = [
        {"epoch": epoch, "learning_rate": 0.001, "loss": 1, "accuracy": 0.5, "val_loss": 1, "val_accuracy": 0.25}
        | {"seconds": seconds, "images_per_second": 321.4}
        for epoch in range(1, epochs + 1)
    ]
    lines = [records.history_row(run.config, row) for row in rows]
    records.write_history(run.directory, records.history_header(run.config) + "".join(lines))
    return Job(run, state=state, place="gpu 3", **facts)


def jobs_of_table_1(out, count):
    """The first ones: a quarter finished, two running; of more than two, one diverged and one failed."""
    runs = cli.load(["--config", "configs/table1.yaml", "--out", str(out)])[0][:count]
    states = (["finished"] * (count // 4) + ["running"] * 2 + ["waiting"] * count)[:count]
    if count > 2:
        states[0], states[3] = "diverged", "failed"
    epochs = {"finished": 200, "running": 17, "diverged": 3, "failed": 2, "waiting": 0}
    return [
        job(run, state, epochs[state], why=REASON if state == "failed" else "")
        for run, state in zip(runs, states, strict=True)
    ]


@pytest.mark.parametrize("count", [2, 12, 96])
@pytest.mark.parametrize("width", [80, 160])
def test_the_picture_fits_and_tells_the_runs_apart(count, width, tmp_path):
    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=width, height=30, color_system=None)
    listed = jobs_of_table_1(tmp_path, count)
    console.print(view.View(listed, console)._picture(2))
    lines = console.file.getvalue().rstrip("\n").split("\n")
    assert len(lines) < 30
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if line.split()[0] in {job.name for job in listed}]
    assert len({row[0] for row in rows}) == len(rows) >= min(count, 15)
    shown = {row[0] for row in rows}
    assert {job.name for job in listed if job.state in ("running", "failed", "diverged")} <= shown
    states = collections.Counter(job.state for job in listed)
    assert all(f" {number} {state}" in " ".join(lines[:2]) for state, number in states.items())
    if count > 2:
        assert REASON.split()[-1] in lines[-1]
        assert [row[1:] for row in rows if row[-1] == "diverged"] == [["3/200", "0.2500", "321", "diverged"]]
    assert (f"and {count - len(rows)} more" in lines) == (len(rows) < count)


def test_of_a_long_name_the_end_is_shown_which_tells_it_from_others(tmp_path):
    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=60, height=30, color_system=None)
    listed = jobs_of_table_1(tmp_path, 2)
    console.print(view.View(listed, console)._picture(2))
    for one in listed:
        assert f"{one.name[-20:]} " in console.file.getvalue()


def test_lines_come_where_something_happens_and_else_now_and_then(tmp_path, monkeypatch):
    console = rich.console.Console(file=io.StringIO(), width=80)
    (first, second) = jobs_of_table_1(tmp_path, 2)
    first.state = second.state = "waiting"
    with view.View([first, second], console) as shown:
        shown.update(1)
        first.state = "running"
        for _ in range(3):
            shown.update(1)
        first.state, first.why = "failed", REASON
        second.state = "held"
        shown.update(1)
        monkeypatch.setattr(view, "EVERY", -1)
        shown.update(1)
    said = [line.partition("] ")[2] for line in console.file.getvalue().splitlines()]
    assert said == [
        f"{first.name}: started on gpu 3, after 17 epochs",
        f"{first.name}: failed, accuracy 0.2500 after 17 epochs: {REASON}",
        f"{second.name}: held by gpu 3",
        "2 runs: 1 held, 1 failed",
    ]


def test_time_that_is_left_is_of_ones_own_epochs_else_of_those_alike(tmp_path, monkeypatch):
    first, second, third = cli.load(["--config", "configs/table1.yaml", "--out", str(tmp_path)])[0][:3]
    third.config.model.depth = 164
    known = job(first, "running", epochs=10, seconds=2.0)
    alike, other = Job(second), Job(third)
    now = (known.run.directory / "history.csv").stat().st_mtime
    monkeypatch.setattr(jobs.time, "time", lambda: now + 0.5)
    assert jobs.seconds_per_epoch([known, alike, other]) == {known: 2.0, alike: 2.0, other: 2.0}
    assert known.seconds_left(2.0) == 190 * 2.0 - 0.5
    assert alike.seconds_left(2.0) == 200 * 2.0
    assert jobs.seconds_to_go([known, alike], 1) == 379.5 + 400
    assert jobs.seconds_to_go([known, alike], 2) == 400
    assert jobs.seconds_to_go([alike], 2) is None
    known.overhead = 7.0
    assert jobs.seconds_to_go([known, alike], 2) == 407
    with (known.run.directory / "history.csv").open("a") as file:
        file.write("half a row")
    os.utime(known.run.directory / "history.csv", (now + 9, now + 9))
    assert known.progress() is None  # which another process may be about to write


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (343, "5:43"), (3_943, "1:05:43"), (90_000, "1 d 1 h"), (86_399.7, "1 d 0 h")]
)
def test_durations_are_short(seconds, text):
    assert view._duration(seconds) == text
