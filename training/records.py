"""The run directory: what a run writes down, and how it is read back."""

import csv
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from typing import Any

import pandas
import yaml

from training.config import Config, Run, flatten
from training.errors import UserError

COLUMNS = (
    "epoch",
    "learning_rate",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
    "images_per_second",
)
STATUSES = ("finished", "diverged", "interrupted")
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "numpy", "tensorflow-datasets", "scikit-learn")


def check(run: Run) -> str | None:
    """Looks at what stands in the run's directory already.

    Returns:
        The recorded status, or None where nothing was recorded.

    Raises:
        UserError: the directory cannot be written, or holds a run of another config.
    """
    folder = next(path for path in (run.directory, *run.directory.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"out: expected a folder that can be written, found {folder}: {error.strerror}") from error
    path = run.directory / "config.yaml"
    if not path.exists():
        return None
    recorded = _readable(path, lambda: flatten(yaml.safe_load(path.read_text())))
    wanted = flatten(run.config.to_dict())
    different = sorted(
        key for key in recorded.keys() | wanted.keys() if key != "out" and recorded.get(key) != wanted.get(key)
    )
    if different:
        changes = ", ".join(f"{key} {recorded.get(key)} (now {wanted.get(key)})" for key in different)
        raise UserError(f"out: expected a folder of this very run, found {run.directory} with {changes}")
    result = read_result(run.directory)
    return result["status"] if result else "unfinished"


def _readable(path, read):
    try:
        return read()
    except Exception as error:
        raise UserError(f"{path}: expected a record of this project, found {type(error).__name__}: {error}") from error


def start(run: Run) -> None:
    """Writes config.yaml (complete), diff.yaml (what differs from the defaults) and env.json."""
    (run.directory / "checkpoints").mkdir(parents=True, exist_ok=True)
    config, default = flatten(run.config.to_dict()), flatten(Config().to_dict())
    diff = {key: value for key, value in config.items() if value != default[key]}
    (run.directory / "diff.yaml").write_text(yaml.safe_dump(diff, sort_keys=False))
    (run.directory / "env.json").write_text(json.dumps(environment(), indent=2) + "\n")
    replace(run.directory / "config.yaml", yaml.safe_dump(run.config.to_dict(), sort_keys=False))


def replace(path: pathlib.Path, text: str) -> None:
    """Writes a file so that a reader sees the old text or the new one, never a part."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def environment() -> dict[str, Any]:
    """Command, commit, versions, device and host cores of this process."""
    import keras

    installed = {package.name.lower().replace("_", "-"): package.version for package in metadata.distributions()}
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "packages": {name: version for name, version in sorted(installed.items()) if name in PACKAGES},
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices() or ["cpu"],
        "machine": platform.machine(),
        "host_cores": os.cpu_count(),
    }


def _git(*arguments):
    here = pathlib.Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def cut_history(directory: pathlib.Path, epochs: int) -> None:
    """Leaves the first `epochs` rows of history.csv: what came after the checkpoint is done again."""
    path = directory / "history.csv"
    if not epochs:
        return replace(path, ",".join(COLUMNS) + "\n")
    lines = _readable(path, lambda: path.read_text().splitlines(keepends=True))
    if len(lines) <= epochs:
        raise UserError(f"{path}: expected the {epochs} epochs of the checkpoint, found {max(len(lines) - 1, 0)}")
    return replace(path, "".join(lines[: epochs + 1]))


def append_history(directory: pathlib.Path, row: dict[str, Any]) -> None:
    with (directory / "history.csv").open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def read_history(directory: pathlib.Path) -> pandas.DataFrame:
    """history.csv, one row an epoch."""
    path = directory / "history.csv"
    return _readable(path, lambda: pandas.read_csv(path))


def read_result(directory: pathlib.Path) -> dict[str, Any] | None:
    """result.json, or None while there is none."""
    path = directory / "result.json"
    if not path.exists():
        return None
    result = _readable(path, lambda: dict(json.loads(path.read_text())))
    if result.get("status") not in STATUSES:
        raise UserError(f"{path}: expected a status of {', '.join(STATUSES)}, found {result.get('status')}")
    return result


def write_result(directory: pathlib.Path, status: str, parameters: int, evaluated_images: int) -> dict[str, Any]:
    """Sums up history.csv in result.json, and returns it.

    Args:
        directory: the run directory.
        status: "finished", "diverged" or "interrupted".
        parameters: trainable parameters.
        evaluated_images: images that each test accuracy counts.
    """
    history = read_history(directory)
    accuracy = history["val_accuracy"]
    reached = {f"{target:g}": history["epoch"][accuracy >= target] for target in TARGETS}
    result = {
        "status": status,
        "epochs": len(history),
        "last_accuracy": float(accuracy.iloc[-1]) if len(history) else None,  # the headline: "at the end of training"
        "best_accuracy": float(accuracy.max()) if len(history) else None,  # best on test: never the result
        "mean_last_ten_accuracy": float(accuracy.tail(10).mean()) if len(history) else None,
        "epochs_to_accuracy": {
            target: int(epochs.iloc[0]) if len(epochs) else None for target, epochs in reached.items()
        },
        "trainable_parameters": parameters,
        "evaluated_images": evaluated_images,
        "total_seconds": float(history["seconds"].sum()),
    }
    replace(directory / "result.json", json.dumps(result, indent=2) + "\n")
    return result
