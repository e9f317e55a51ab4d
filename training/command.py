"""What the scripts do: read the configs, train, end with a code that says how it went."""

import pathlib
from collections.abc import Callable

from training.devices.backend import import_keras
from training.errors import exit_codes


@exit_codes
def main(argv: list[str], script: str, show: Callable[[list[pathlib.Path]], None]) -> int:
    """Runs `script`, one of `training.config.DEFAULTS`, and returns its exit code; `show` is that of `grid.run_all`."""
    import_keras()
    from training import cli, grid

    runs, only_print = cli.load(argv, script)
    if only_print:
        print(cli.dump(runs), end="")
        return 0
    return grid.run_all(runs, show)
