"""The run directory: what a run writes down, and how it is read back."""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import tempfile
from typing import Any

import numpy as np
import pandas
import yaml

from training import files
from training.cli import parse
from training.config import NEUTRAL, Config, Run, defaults, flatten
from training.devices.environment import environment
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
TOP_FIVE = ("top5", "val_top5")  # of photographs
SEALED = ("config.yaml", "env.json", "history.csv")
STATUSES = ("finished", "diverged", "interrupted")
TARGETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def check(run: Run) -> str:
    """Looks at what stands in the run's directory already.

    Returns:
        "new", "unfinished" or the recorded status.

    Raises:
        UserError: the directory cannot be written, or holds a run of another config.
    """
    folder = run.directory
    try:
        folder = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"out: expected a folder that can be written, found {folder}: {error.strerror}") from error
    try:
        return _status(run)
    except UserError as error:
        raise UserError(f"{error}; give another `--out`, or delete that folder to start over") from error


def _status(run):
    begun = (run.directory / "history.csv").exists()  # another process writes it after config.yaml
    if not (run.directory / "config.yaml").exists():
        if begun:
            raise UserError(f"{run.directory}: expected config.yaml beside history.csv, found none")
        return "new"
    recorded, wanted = read_config(run.directory), flatten(run.config.to_dict())
    different = sorted(
        key for key in recorded.keys() | wanted.keys() if key not in NEUTRAL and recorded.get(key) != wanted.get(key)
    )
    if different:
        changes = ", ".join(f"{key} {recorded.get(key)} (now {wanted.get(key)})" for key in different)
        raise UserError(f"out: expected a folder of this very run, found {run.directory} with {changes}")
    result = read_result(run.directory)
    return result["status"] if result else "unfinished"


def _readable(path, read):
    try:
        return read(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise UserError(f"{path}: expected a record of this project, found {type(error).__name__}: {error}") from error


def start(
    run: Run,
    first_epoch: int,
    images_sha256: str,
    replicas: int = 1,
    genuine: bool = True,
    class_names: tuple[str, ...] = (),
) -> None:
    """Writes config.yaml (complete), diff.yaml (what differs from the defaults) and env.json.

    A run that goes on has no result.json while it does, and keeps what env.json said of its earlier sessions.
    """
    path = run.directory / "env.json"
    now = {"from_epoch": first_epoch + 1, "images_sha256": images_sha256, "images_genuine": genuine}
    now |= {"class_names": class_names, "replicas": replicas, **environment()}
    sessions = []
    if first_epoch:
        before = read_environment(run.directory)
        sessions = [*before.pop("earlier_sessions", []), before]
    (run.directory / "result.json").unlink(missing_ok=True)  # first, for it seals what follows
    files.replace(run.directory / "config.yaml", yaml.safe_dump(run.config.to_dict(), sort_keys=False))
    config, default = flatten(run.config.to_dict()), defaults(run.config)
    diff = {key: value for key, value in config.items() if value != default[key]}
    files.replace(run.directory / "diff.yaml", yaml.safe_dump(diff, sort_keys=False))
    files.replace(path, json.dumps(now | {"earlier_sessions": sessions}, indent=2) + "\n")


def _columns(config):
    return COLUMNS + (TOP_FIVE if config.model.network == "imagenet_resnet" else ())


def history_header(config: Config) -> str:
    """The first line of history.csv."""
    return ",".join(_columns(config)) + "\n"


def history_row(config: Config, values: dict[str, Any]) -> str:
    """The line of an epoch."""
    line = io.StringIO()
    csv.DictWriter(line, _columns(config), lineterminator="\n").writerow(values)
    return line.getvalue()


def write_history(directory: pathlib.Path, text: str) -> None:
    """Writes history.csv whole: its header and a row an epoch."""
    files.replace(directory / "history.csv", text)


def write_result(directory: pathlib.Path, status: str, **facts: Any) -> dict[str, Any]:
    """Sums up history.csv in result.json, seals the records, and returns the result.

    Args:
        directory: the run directory.
        status: "finished", "diverged" or "interrupted".
        facts: what history.csv does not say.
    """
    history = read_history(directory)
    accuracy, late = history["val_accuracy"], last_ten(history)
    reached = {f"{target:g}": first_epoch(history, target) for target in TARGETS}
    result = {
        "status": status,
        "epochs": len(history),
        "last_accuracy": float(accuracy.iloc[-1]) if len(history) else None,  # the headline: "at the end of training"
        "best_accuracy": float(accuracy.max()) if len(history) else None,  # best on test: never the result
        "mean_last_ten_accuracy": float(late.mean()) if len(late) else None,
        "epochs_to_accuracy": reached,
        "total_seconds": float(history["seconds"].sum()),
        **facts,
    }
    result["sha256"] = _seal(directory, result)
    files.replace(directory / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def last_ten(history: pandas.DataFrame) -> pandas.Series:
    """The test accuracies of the last ten epochs; empty where there are fewer."""
    accuracy = history["val_accuracy"]
    return accuracy.tail(10) if len(accuracy) >= 10 else accuracy.head(0)


def first_epoch(history: pandas.DataFrame, accuracy: float) -> int | None:
    """The first epoch whose test accuracy is at least `accuracy`."""
    epochs = history["epoch"][history["val_accuracy"] >= accuracy]
    return int(epochs.iloc[0]) if len(epochs) else None


def _seal(directory, result):
    """A checksum of what the run wrote down: a byte that changes later is a number that may be wrong."""
    texts = [(directory / name).read_text(encoding="utf-8") for name in SEALED]
    content = json.dumps([*texts, {key: value for key, value in result.items() if key != "sha256"}], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def read_config(directory: pathlib.Path) -> dict[str, Any]:
    """config.yaml, flattened: dotted keys to values. A key that is younger than the record has its default.

    Raises:
        UserError: it cannot be read.
    """
    return dict(_readable(directory / "config.yaml", _parse_config))


@functools.lru_cache(maxsize=1024)  # a grid looks at each of its runs several times, and parsing takes 10 ms
def _parse_config(text):
    return flatten(parse(yaml.safe_load(text)).to_dict())


def read_environment(directory: pathlib.Path) -> dict[str, Any]:
    """env.json.

    Raises:
        UserError: it cannot be read.
    """
    return _readable(directory / "env.json", lambda text: dict(json.loads(text)))


def _parse_history(text):
    header, *rows = csv.reader(text.splitlines())
    numbers = [[int(epoch), *map(float, rest)] for epoch, *rest in rows]
    return pandas.DataFrame(numbers, columns=header).astype({"epoch": int} | dict.fromkeys(header[1:], float))


def read_history(directory: pathlib.Path) -> pandas.DataFrame:
    """history.csv, one row an epoch.

    Raises:
        UserError: it cannot be read, or no run can have written it.
    """
    path = directory / "history.csv"
    history = _readable(path, _parse_history)
    if tuple(history.columns) not in (COLUMNS, COLUMNS + TOP_FIVE):
        raise UserError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(map(str, history))}")
    if not np.isfinite(history.to_numpy()).all():
        raise UserError(f"{path}: expected finite numbers, found {history.to_dict('list')}")
    if list(history["epoch"]) != list(range(1, len(history) + 1)):
        raise UserError(f"{path}: expected the epochs 1 to {len(history)}, found {list(history['epoch'])}")
    for column in {"accuracy", "val_accuracy", *TOP_FIVE} & {*history.columns}:
        if not history[column].between(0, 1).all():
            raise UserError(f"{path}: expected {column} from 0 to 1, found {list(history[column])}")
    return history


def read_result(directory: pathlib.Path) -> dict[str, Any] | None:
    """result.json, or None while there is none.

    Raises:
        UserError: it cannot be read, or its checksum is not that of the records.
    """
    path = directory / "result.json"
    version = _version(path)
    if not version:
        return None
    try:
        return _read_sealed(path)
    except UserError:
        if _version(path) == version:
            raise
    return read_result(directory)  # another process went on with the run meanwhile


def _version(path):
    """What differs when another file has taken this place; None: there is none."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _read_sealed(path):
    result = _readable(path, lambda text: dict(json.loads(text)))
    if result.get("status") not in STATUSES:
        raise UserError(f"{path}: expected a status of {', '.join(STATUSES)}, found {result.get('status')}")
    try:
        seal = _seal(path.parent, result)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected {', '.join(SEALED)} beside it, found {error}") from error
    if result.get("sha256") != seal:
        raise UserError(f"{path}: expected the checksum of {', '.join(SEALED)} and itself, found them changed since")
    return result


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run directory says: the config flattened; `result` is None while the run is under way, or was killed."""

    directory: pathlib.Path
    config: dict[str, Any]
    environment: dict[str, Any]
    history: pandas.DataFrame
    result: dict[str, Any] | None

    @property
    def status(self) -> str:
        return self.result["status"] if self.result else "unfinished"


def read(directory: pathlib.Path) -> Record:
    """Reads a run directory.

    Raises:
        UserError: a file of it cannot be read, or is not what the run wrote.
    """
    result = read_result(directory)  # first, for what it seals stays
    return Record(directory, read_config(directory), read_environment(directory), read_history(directory), result)
