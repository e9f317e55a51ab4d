"""Time and size of the checkpoints and records of a run, against the time of its epochs.

python benchmarks/checkpoint_cost.py [--depth 110] [--train_examples 1280]

Images are random: their content costs nothing.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from training.backend import import_keras

import_keras()

from training import cli, records, run  # noqa: E402
from training.data import ImageSet  # noqa: E402
from training.interrupt import Interruption  # noqa: E402

CIFAR = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", default="110")
    parser.add_argument("--train_examples", type=int, default=1280)
    arguments = parser.parse_args()
    count = arguments.train_examples
    values = np.random.default_rng(0)
    images, labels = values.integers(0, 256, (count, 32, 32, 3), np.uint8), values.integers(0, 10, count, np.int32)
    image_set = ImageSet("cifar10", images, labels, images[: count // 5], labels[: count // 5], 10)
    seconds = []

    class Timed(run.Recorder):
        def on_epoch_end(self, epoch, logs=None):
            begun = time.perf_counter()
            super().on_epoch_end(epoch, logs)
            seconds.append(time.perf_counter() - begun)

    run.Recorder = Timed
    with tempfile.TemporaryDirectory() as out, Interruption() as interruption:
        (one,), _ = cli.load(["--out", out, "--model.depth", arguments.depth, "--train.epochs", "5"])
        one.checkpoints.mkdir(parents=True)
        run.train(one, image_set, None, interruption)
        epoch = statistics.median(records.read_history(one.directory)["seconds"].iloc[1:])
        state, model = (one.checkpoints / name for name in ("epoch-000005.state", "model.keras"))
        sizes = [path.stat().st_size / 1e6 for path in (state, model)]
    spent = statistics.median(seconds)
    print(f"a checkpoint {sizes[0]:.1f} MB (two are kept), the trained model {sizes[1]:.1f} MB")
    print(f"checkpoint and records: {spent:.3f} s an epoch")
    print(f"an epoch of {count:,} images: {epoch:.1f} s, so {spent / epoch:.2%}")
    print(f"an epoch of {CIFAR:,} images: {spent / (epoch * CIFAR / count):.4%}")


if __name__ == "__main__":
    main()
