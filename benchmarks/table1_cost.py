"""What Table 1 costs in device hours: 32 cells, 3 seeds, 200 epochs of 50,000 images, from measured speeds.

    python -m benchmarks.training_speed --contenders jax 'jax*3' --out speed.jsonl [--unit baseline] [--depth 164 ...]
    python -m benchmarks.table1_cost speed.jsonl

The contenders of speed_keras.py count, the fastest of each network and unit; several side by side count together. What
was not timed is taken to cost as much an operation as ResNet-110 with the same unit, or as `relu-ic-conv`; the output
says so. Evaluation and compiling are not counted.
"""

import argparse
import collections
import json
import pathlib
import statistics

from benchmarks.contenders.speed_keras import least_work
from models import cifar_resnet
from training import cli

IMAGES = 200 * 50_000  # epochs, training images


def show(path: pathlib.Path) -> None:
    """Prints the cost of each cell, and of all."""
    fastest: dict[tuple, float] = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        key = record["depth"], record["bottleneck"] == "true", record["unit"]
        rates = [statistics.median(r) for name, r in record["images_per_second"].items() if "-" not in name]
        fastest[key] = max(*rates, fastest.get(key, 0))
    cells = [run.config.model for run in cli.load(["--config", "configs/table1.yaml"])[0]]
    counts = collections.Counter((cell.bottleneck, cell.depth, cell.unit) for cell in cells)
    hours = 0.0
    for (bottleneck, depth, unit), count in counts.items():
        rate, how = fastest.get((depth, bottleneck, unit)), "measured"
        if rate is None:
            base = next(one for one in ((110, False, unit), (110, False, "relu-ic-conv")) if one in fastest)
            ours, theirs = (
                least_work(cifar_resnet(deep, "baseline", bottle), 1, "float32")["flops"]
                for deep, bottle in ((depth, bottleneck), base[:2])
            )
            rate, how = fastest[base] * theirs / ours, f"scaled from ResNet-{base[0]}, {base[2]}"
        cost = count * IMAGES / rate / 3600
        hours += cost
        print(f"ResNet-{'B-' if bottleneck else ''}{depth:3} {unit:13} {rate:9.1f} images/s, {cost:8.1f} h, {how}")
    print(f"all 32 cells, 3 seeds: {hours:.0f} device hours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=pathlib.Path, help="what training_speed wrote")
    show(parser.parse_args().records)


if __name__ == "__main__":
    main()
