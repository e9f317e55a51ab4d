"""Many runs, one after another."""

import contextlib
import importlib.util
import sys

import pandas
import rich.box
import rich.console
import rich.table

from training import analysis, checkpoint, curves, memory, records, strategy, tables
from training.config import Run
from training.data import ImageSet, load
from training.errors import UserError
from training.imagenet import PhotoSet
from training.interrupt import Interruption
from training.lock import Lock
from training.run import train

EXIT_CODES = {"finished": 0, "diverged": 3, "interrupted": 130}
ENDED = ("finished", "diverged")


def run_all(runs: list[Run]) -> int:
    """Trains what has no end yet, then prints a table and draws the curves of all the runs.

    Returns:
        The exit code: 0 all finished, 3 one diverged, 130 interrupted.

    Raises:
        UserError: before anything is trained, whatever a later run would stumble over; or a record cannot be written.
    """
    for run in runs:
        records.check(run)
        if run.config.train.tensorboard and not importlib.util.find_spec("tensorflow"):
            raise UserError("train.tensorboard: expected TensorFlow, which writes these logs, found it not installed")
    devices = {run.directory: strategy.start(strategy.choose(run.config.train)) for run in runs}
    strategy.warn_of_unseen_gpus()  # not before: to look at devices ties TensorFlow to them
    chief = all(each.chief for each in devices.values())
    image_sets = _load_image_sets(runs, devices)
    with contextlib.ExitStack() as locks, Interruption() as interruption:
        for run in runs:
            if chief and records.check(run) not in ENDED:
                locks.enter_context(Lock(run.directory))
        statuses = {run.directory: records.check(run) for run in runs}  # again: now no other process can end one
        states = {run.directory: _state(run) for run in runs if statuses[run.directory] not in ENDED}
        for run in runs:
            if states.get(run.directory):
                records.check_origin(run, image_sets[_image_key(run)].sha256, devices[run.directory].replicas)
        for each in devices.values():
            each.wait()  # all workers have read where each run stands
        for number, run in enumerate(runs, 1):
            print(f"\n[{number}/{len(runs)}] {run.directory}", flush=True)
            status = statuses[run.directory]
            if status in ENDED:
                print(f"{status} already")
                continue
            images, state = image_sets[_image_key(run)], states.pop(run.directory)
            with memory.traces_freed():
                result = train(run, images, state, interruption, devices[run.directory])
            statuses[run.directory] = result["status"]
            if result["status"] == "diverged":
                print("the loss is not finite at epoch {epoch}, step {step}".format(**result["diverged_at"]))
            if interruption.requested:
                print("interrupted; the same command goes on from the last whole epoch")
                break
    if chief:
        _show([run.directory for run in runs])
    return max(EXIT_CODES.get(status, EXIT_CODES["interrupted"]) for status in statuses.values())


def _state(run):
    """The checkpoint that the run goes on from; None where it begins."""
    if run.config.resume == "never":
        return None
    state = checkpoint.newest(run.checkpoints)
    if state is None and (run.directory / "history.csv").exists() and len(records.read_history(run.directory)):
        raise UserError(
            f"{run.checkpoints}: expected the checkpoint of what {run.directory / 'history.csv'} holds, found none; "
            "`--resume never` starts this run over"
        )
    return state


def _image_key(run):
    data = run.config.data
    return data.name, data.data_dir, data.train_examples, data.on_bad_image


def _load_image_sets(runs, devices):
    image_sets: dict[tuple, ImageSet | PhotoSet] = {}
    for run in runs:
        key = _image_key(run)
        if key not in image_sets:
            image_sets[key] = load(run.config.data)
        strategy.check(run.config, image_sets[key].train_count, devices[run.directory])
    return image_sets


def _show(directories):
    """Prints a table of these runs, also of those that did not finish, and draws their curves beside them.

    A setting in which a unit has two seeds or more has a table of its units' means too.
    """
    found = [records.read(directory) for directory in directories if (directory / "result.json").exists()]
    if not found:
        return
    runs = analysis.table(found)
    rows = [
        {
            "run": row["directory"].name + ("" if row["status"] == "finished" else f" ({row['status']})"),
            "parameters": f"{row['parameters']:,.0f}",
            "epochs": str(row["epochs"]),
            "last": tables.number(row["last"]),
            "best": tables.number(row["best"]),
            "last ten": tables.number(row["last_ten"]),
            "seconds": f"{row['seconds']:.0f}",
        }
        for _, row in runs.iterrows()
    ]
    _print(pandas.DataFrame(rows), "Test accuracy", "The result is the last epoch's.")
    for setting, units in analysis.by_unit(runs).groupby("setting", sort=False):
        if (units["n"] > 1).any():
            text = tables.accuracy_table(units, analysis.paired(runs)).map(tables.plain)
            means = text[["unit", "n", "last epoch", "best", "last ten"]]
            _print(means, f"Means: {setting}", "Mean ± standard deviation over the n seeds.")
    out = found[0].directory.parent
    curves.save(found, out)
    print(f"curves: {out / 'accuracy.png'}")


def _print(text, title, caption):
    """Prints a frame of text; names, in the first column, are folded where the terminal is narrow."""
    printed = rich.table.Table(title=title, box=rich.box.SIMPLE, caption=caption, collapse_padding=True)
    for column in text:
        name = column == text.columns[0]
        printed.add_column(column, justify="left" if name else "right", no_wrap=not name, overflow="fold")
    for row in text.itertuples(index=False):
        printed.add_row(*row)
    width = None if sys.stdout.isatty() else 120
    rich.console.Console(width=width, markup=False, emoji=False).print(printed)
