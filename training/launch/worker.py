"""What a launch starts for a run: a process that trains it and nothing else."""

import contextlib
import json
import os
import pathlib
import runpy
import signal
import sys
import threading
from typing import Any

from training.errors import exit_codes
from training.lock import HeldError, Lock

TAKEN = 4


@exit_codes
def train(script: str, argv: list[str], directory: str, threads: int | None) -> int:
    """Trains one run of the command `script argv`, and returns the exit code: TAKEN where another process has it.

    The run is this process' own from its first moment, not only after Keras is imported, which takes seconds.

    Args:
        script: a file whose `main` takes the command line, and what trains the runs in place of `grid.run_all`.
        argv: its command line.
        directory: that of the run.
        threads: of the CPU, where neither the config nor the beginning of the run says how many.
    """

    def train_one(runs: Any, show: Any) -> int:
        from training import grid, origin  # not before: they import Keras

        (run,) = (run for run in runs if str(run.directory) == directory)
        if run.config.train.threads is None:
            run.config.train.threads = origin.begun_threads(run) or threads
        return grid.run_all([run], show=lambda directories: None, own=lambda directory: contextlib.nullcontext())

    sys.argv = [script, *argv]  # for env.json
    try:
        with Lock(pathlib.Path(directory)):
            return runpy.run_path(script)["main"](argv, train_one)
    except HeldError:
        return TAKEN


def end_with_parent() -> None:
    """Sends this process SIGTERM once stdin is closed, which it is when the launcher is no more."""

    def wait():
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    end_with_parent()
    return train(**json.loads(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
