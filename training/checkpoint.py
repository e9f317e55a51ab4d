"""The state of a run in one file, from which it goes on exactly."""

import os
import pathlib
from typing import Any

import numpy as np

from training.errors import UserError


def _variables(model):
    """Weights, the states of the dropout masks (which Keras' own files leave out) and the optimizer."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def save(path: pathlib.Path, model, epochs: int) -> None:
    """Writes the state after `epochs` whole epochs; a file that is there already is replaced at once."""
    variables = _variables(model)
    arrays: dict[str, Any] = {f"variable{i}": np.asarray(variable) for i, variable in enumerate(variables)}
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        np.savez(file, epochs=epochs, paths=[variable.path for variable in variables], **arrays)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def restore(path: pathlib.Path, model) -> int:
    """Sets the state and returns the number of epochs that it has behind it; 0 where there is no file.

    Raises:
        UserError: the file cannot be read, or holds another model.
    """
    if not path.exists():
        return 0
    variables = _variables(model)
    try:
        with np.load(path) as stored:
            if list(stored["paths"]) != [variable.path for variable in variables]:
                raise ValueError("variables of another model")
            for i, variable in enumerate(variables):
                variable.assign(stored[f"variable{i}"])
            return int(stored["epochs"])
    except Exception as error:
        raise UserError(f"{path}: expected the state of this run, found {error}") from error
