"""Images a second that the batches of CIFAR are made at, on one core, and how long a training waits for them.

python benchmarks/input_pipeline.py [--depth 20] [--steps 40]

Images are random: their content costs nothing.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from training.backend import import_keras

import_keras()

from training import cli, run  # noqa: E402
from training.data import Batches, ImageSet  # noqa: E402

COUNT, BATCH = 50_000, 64


def one_core(batches: Batches, steps: int) -> list[float]:
    """Images a second, in five goes, with this process on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    rates = []
    for go in range(5):
        begun = time.perf_counter()
        for step in range(steps):
            batches(go * steps + step)
        rates.append(steps * BATCH / (time.perf_counter() - begun))
    os.sched_setaffinity(0, cores)
    return rates


def waiting(batches: Batches, depth: str, steps: int) -> float:
    """The part of the time of `steps` steps of training that passes before their batches are there."""
    (one,), _ = cli.load(["--model.depth", depth])
    model = run.build(one.config, batches.images)
    source = iter(batches.stream(0, steps + 3))
    for _ in range(3):
        model.train_on_batch(*next(source))
    waited, begun = 0.0, time.perf_counter()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(source)
        waited += time.perf_counter() - asked
        model.train_on_batch(*batch)
    return waited / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", default="20")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    values = np.random.default_rng(0)
    images, labels = values.integers(0, 256, (COUNT, 32, 32, 3), np.uint8), values.integers(0, 10, COUNT, np.int32)
    batches = Batches(ImageSet("cifar10", images, labels, images, labels, 10), BATCH, seed=0, augment=True)
    batches(0)
    rates = one_core(batches, 200)
    print(f"{statistics.median(rates):,.0f} images/s on one core ({min(rates):,.0f}, {max(rates):,.0f})")
    print(f"ResNet-{arguments.depth} waits {waiting(batches, arguments.depth, arguments.steps):.2%} of the time")


if __name__ == "__main__":
    main()
