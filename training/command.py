"""What the scripts do: read the configs, train, end with a code that says how it went."""

import pathlib
from collections.abc import Callable
from typing import Any

from training.devices.backend import import_keras
from training.errors import exit_codes

Show = Callable[[list[pathlib.Path]], None]
Trainer = Callable[[list[Any], Show], int]


@exit_codes
def main(argv: list[str], script: str, show: Show, run_all: Trainer | None = None) -> int:
    """Runs `script`, one of `training.config.DEFAULTS`, and returns its exit code.

    Args:
        argv: its command line.
        script: its name.
        show: is told the directories of the runs at their end.
        run_all: trains the runs, shows them and gives the exit code; None: `grid.run_all`, in this process.
    """
    import_keras()
    from training import cli, grid

    runs, only_print = cli.load(argv, script)
    if only_print:
        print(cli.dump(runs), end="")
        return 0
    return (run_all or grid.run_all)(runs, show)
