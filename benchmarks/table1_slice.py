"""Goes on with the next cells of Table 1 for some minutes, for machines that are lent in slices.

    python -m benchmarks.table1_slice --minutes 25 --out slices [--side_by_side 2] [KEYS of train_cifar.py ...]

Cells come in the order of `configs/table1.yaml`. A cell counts when its 200 epochs are done. What the next slice goes
on from is left in `OUT/state.NNNN`, in files of at most 15 MiB; the run directories beside it hold the records. With
JAX the compiled programs are among it: the next slice need not compile, and takes the same kernels, none of those whose
results differ from call to call, so that a run that goes on ends as one that never stopped.

Exit codes: 0, 2 a mistake of yours, or a run that could not go on; 130 ended early, by Ctrl-C or SIGTERM, and packed.
"""

import argparse
import os
import pathlib
import sys

from training import command
from training.errors import UserError, exit_codes
from training.interrupt import Interruption

CACHES = "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"  # their folder would be a part of what a program is found by
DIVERGED = 3  # which is an end, too
DETERMINISTIC = "--xla_gpu_exclude_nondeterministic_ops=true"


def command_line(out: pathlib.Path, keys: list[str]) -> list[str]:
    """The command line of train_cifar.py."""
    return ["--config", "configs/table1.yaml", *keys, "--out", str(out)]


def show(directories: list[pathlib.Path]) -> None:
    """Prints how many epochs each run has."""
    from training.launch import packing

    for directory in directories:
        if (directory / "history.csv").exists():
            print(f"{directory}: {packing.progress(directory)[1]} epochs")


@exit_codes
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--side_by_side", type=int, default=1, help="runs at a time, on each GPU or on the CPU")
    options, keys = parser.parse_known_args()
    argv = command_line(options.out, keys)

    def run_all(runs, _):
        from training.launch import launcher, local, packing  # not before: they import Keras

        def start(jobs):
            return local.Local(jobs, ["train_cifar.py", *argv], options.side_by_side)

        with Interruption() as interruption:
            packing.unpack(options.out)
            try:
                seconds = 0 if interruption.requested else 60 * options.minutes
                code = launcher.run_all(runs, show, start, seconds, go_on=False)
            finally:
                packing.pack(options.out)
        return 130 if interruption.requested else 0 if code == DIVERGED else code

    os.environ.setdefault(CACHES, "none")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}"
    try:
        return command.main(argv, "train_cifar.py", show, run_all)
    except OSError as error:
        raise UserError(error) from error


if __name__ == "__main__":
    sys.exit(main())
