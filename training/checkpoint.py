"""The state of a run in one file, from which it goes on exactly."""

import functools
import hashlib
import io
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import keras
import numpy as np

from training import files
from training.errors import UserError

KEPT = 2
DIGEST = hashlib.sha256().digest_size


class State(NamedTuple):
    """What a checkpoint holds: `variables` (paths and arrays), `epochs` behind it, and the text of history.csv."""

    epochs: int
    history: str
    variables: list[tuple[str, np.ndarray]]


def _variables(model):
    """Weights, the states of the dropout masks (which Keras' own files leave out) and the optimizer."""
    return [*model.variables, *model.optimizer.variables]


def _files(folder):
    """The checkpoints, the newest first."""
    return sorted(folder.glob("epoch-*.state"), reverse=True)


def encode(state: State) -> bytes:
    """SHA-256 of an .npz archive, then the archive."""
    paths = [path for path, _ in state.variables]
    arrays: dict[str, Any] = {f"variable{i}": array for i, (_, array) in enumerate(state.variables)}
    archive = io.BytesIO()
    np.savez(archive, epochs=state.epochs, history=state.history, paths=paths, **arrays)
    return hashlib.sha256(archive.getbuffer()).digest() + archive.getvalue()


def decode(data: bytes) -> State:
    """The inverse of `encode`.

    Raises:
        ValueError: not a single byte may differ from what `encode` wrote.
    """
    if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
        raise ValueError("a checksum that does not match")
    with np.load(io.BytesIO(data[DIGEST:])) as stored:
        variables = [(str(path), stored[f"variable{i}"]) for i, path in enumerate(stored["paths"])]
        return State(int(stored["epochs"]), str(stored["history"]), variables)


def save(folder: pathlib.Path, model, epochs: int, history: str) -> None:
    """Writes the state after `epochs` whole epochs, leaves the one before it, and sweeps up after a killed process.

    Raises:
        UserError: it cannot be written; the older ones are intact.
    """
    state = State(
        epochs, history, [(variable.path, keras.ops.convert_to_numpy(variable)) for variable in _variables(model)]
    )
    files.replace(folder / f"epoch-{epochs:06d}.state", encode(state))
    for old in [*_files(folder)[KEPT:], *folder.glob("*.new")]:
        old.unlink()


def newest(folder: pathlib.Path) -> State | None:
    """The newest state that is whole, or None where there is none; warns of the one that it passes over.

    Raises:
        UserError: there are checkpoints, and none is whole.
    """
    broken = []
    for path in _files(folder):
        try:
            state = decode(path.read_bytes())
        except FileNotFoundError:
            return newest(folder)  # another process, which trains this run, has newer ones
        except (OSError, ValueError) as error:
            broken.append(f"{path}: expected a checkpoint as it was written, found {error}")
            continue
        for line in broken:
            _warn(f"{line}; going on from epoch {state.epochs}")
        return state
    if broken:
        raise UserError(f"{'; '.join(broken)}; `--resume never` starts this run over")
    return None


@functools.cache  # a grid looks at each of its runs before it comes to them
def _warn(line):
    print(f"warning: {line}", file=sys.stderr)


def restore(state: State, model) -> None:
    """Sets every variable of the model and its optimizer.

    Raises:
        UserError: the state is another model's.
    """
    variables = _variables(model)
    expected = [(variable.path, tuple(variable.shape)) for variable in variables]
    found = [(path, array.shape) for path, array in state.variables]
    if expected != found:
        raise UserError(
            f"checkpoint: expected the variables of {model.name}, found those of another model; "
            "`--resume never` starts this run over"
        )
    for variable, (_, array) in zip(variables, state.variables, strict=True):
        variable.assign(array)


def clear(folder: pathlib.Path) -> None:
    """Removes every checkpoint."""
    for path in _files(folder):
        path.unlink()


def check_space(folder: pathlib.Path, model) -> None:
    """Sees to it that the checkpoints and the trained model will find room.

    Raises:
        UserError: the disk has too little.
    """
    size = sum(keras.ops.convert_to_numpy(variable).nbytes for variable in _variables(model))
    needed, free = (KEPT + 2) * size, shutil.disk_usage(folder).free  # one more while it is written, and the model
    if free < needed:
        raise UserError(f"out: expected {needed:,} bytes free for checkpoints in {folder}, found {free:,}")
