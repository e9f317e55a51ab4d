"""Images a second that the batches of CIFAR are made at, on one core, and how long a training waits for them.

python -m benchmarks.input_pipeline [--depth 20] [--steps 40]
"""

import argparse
import os
import time

from training.devices.backend import import_keras

import_keras()

from benchmarks.images import random_images  # noqa: E402
from benchmarks.measure import setting, spread  # noqa: E402
from training import cli, run  # noqa: E402
from training.config import DataConfig  # noqa: E402
from training.data.images import Batches  # noqa: E402

BATCH = 64
COUNT, GO = setting((50_000, 200), (640, 2))  # images; batches of one go


def one_core(batches: Batches) -> list[float]:
    """Images a second, in five goes, with this process on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    rates = []
    for go in range(5):
        begun = time.perf_counter()
        for step in range(GO):
            batches(go * GO + step)
        rates.append(GO * BATCH / (time.perf_counter() - begun))
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
    parser.add_argument("--depth", default=setting("20", "8"))
    parser.add_argument("--steps", type=int, default=setting(40, 2))
    arguments = parser.parse_args()
    batches = random_images(COUNT).batches(BATCH, 0, DataConfig())
    batches(0)
    print(f"{spread(one_core(batches), 0)} images/s on one core")
    print(f"ResNet-{arguments.depth} waits {waiting(batches, arguments.depth, arguments.steps):.2%} of the time")


if __name__ == "__main__":
    main()
