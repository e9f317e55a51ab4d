"""Trains on CIFAR-10, CIFAR-100, Fashion-MNIST or the embedded digits: one run, or a grid of them.

python train_cifar.py --config configs/digits.yaml
python train_cifar.py --help
"""

import sys

from reporting import summary
from training import command


def main(argv: list[str], run_all: command.Trainer | None = None) -> int:
    return command.main(argv, "train_cifar.py", summary.show, run_all)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
