"""Time and size of the checkpoints and records of a run, against the time of its epochs.

python -m benchmarks.checkpoint_cost [--depth 110] [--train_examples 1280]
"""

import argparse
import statistics
import tempfile
import time
from unittest import mock

from training.devices.backend import import_keras

import_keras()

from benchmarks.images import random_images  # noqa: E402
from benchmarks.measure import setting  # noqa: E402
from training import cli, records, run  # noqa: E402
from training.devices.strategy import ONE_DEVICE  # noqa: E402
from training.interrupt import Interruption  # noqa: E402

CIFAR = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", default=setting("110", "8"))
    parser.add_argument("--train_examples", type=int, default=setting(1280, 128))
    arguments = parser.parse_args()
    count = arguments.train_examples
    seconds = []

    class Timed(run.Recorder):
        def on_epoch_end(self, epoch, logs=None):
            begun = time.perf_counter()
            super().on_epoch_end(epoch, logs)
            seconds.append(time.perf_counter() - begun)

    with tempfile.TemporaryDirectory() as out, Interruption() as interruption:
        (one,), _ = cli.load(["--out", out, "--model.depth", arguments.depth, "--train.epochs", "5"])
        one.checkpoints.mkdir(parents=True)
        with mock.patch.object(run, "Recorder", Timed):
            run.train(one, random_images(count), None, interruption, ONE_DEVICE)
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
