"""Trains the runs of a command side by side, each in a process of its own.

    python -m training.launch [--per_device 2] [--minutes 60] [--ray auto] train_cifar.py --config FILE [KEYS ...]

A process that dies is restarted twice, from the last whole epoch. Ctrl-C, SIGTERM and the end of the minutes end all
runs so that the same command goes on. What a run has to say stands in log.txt of its directory.

Exit codes: 0 all finished, others have the rest, or the minutes are over; 2 a mistake of yours, or a run that failed; 3
one diverged; 130 interrupted.
"""

import argparse
import math
import pathlib
import runpy
import sys

from training.errors import exit_codes, require


@exit_codes
def main() -> int:
    parser = argparse.ArgumentParser("python -m training.launch", description=__doc__.splitlines()[0])
    parser.add_argument("--per_device", type=int, default=1, help="runs side by side on a GPU, or on the CPU")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then all end, so that they can go on")
    parser.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster that runs them, such as auto, or local")
    parser.add_argument("script", help="train_cifar.py or train_imagenet.py")
    parser.add_argument("keys", nargs=argparse.REMAINDER, help="its command line")
    options = parser.parse_args()
    require("--per_device", options.per_device, options.per_device >= 1, "an integer of at least 1")
    known = pathlib.Path(options.script).name in ("train_cifar.py", "train_imagenet.py")
    known = known and pathlib.Path(options.script).is_file()
    require("script", options.script, known, "train_cifar.py or train_imagenet.py")
    require("--minutes", options.minutes, options.minutes >= 1, "a number of at least 1")

    def run_all(runs, show):
        from training.launch import launcher, local, on_ray  # not before: they import Keras

        command = [options.script, *options.keys]

        def make_engine(jobs):
            if options.ray:
                return on_ray.Cluster(jobs, command, options.per_device, options.ray)
            return local.Local(jobs, command, options.per_device)

        return launcher.run_all(runs, show, make_engine, 60 * options.minutes)

    return runpy.run_path(options.script)["main"](options.keys, run_all)


if __name__ == "__main__":
    sys.exit(main())
