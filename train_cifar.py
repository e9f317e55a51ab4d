"""Trains on CIFAR-10, CIFAR-100, Fashion-MNIST or the embedded digits: one run, or a grid of them.

python train_cifar.py --config configs/digits.yaml
python train_cifar.py --help
"""

import sys

from training.errors import UserError
from training.quiet import import_keras


def main(argv: list[str]) -> int:
    try:
        import_keras()
        from training import config, grid

        runs, only_print = config.load(argv)
        if only_print:
            print(config.dump(runs), end="")
            return 0
        return grid.run_all(runs)
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
