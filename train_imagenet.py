"""Trains on ILSVRC2012, on one GPU, several, several hosts, or a TPU: one run, or a grid of them.

python train_imagenet.py --config configs/imagenet.yaml --data.data_dir DIR --train.strategy auto
python train_imagenet.py --help
"""

import sys

from reporting import summary
from training import command
from training.devices import memory


def main(argv: list[str], run_all: command.Trainer | None = None) -> int:
    memory.one_arena_a_core()
    return command.main(argv, "train_imagenet.py", summary.show, run_all)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
