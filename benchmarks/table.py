"""Tables of the README, from what the benchmarks recorded.

python benchmarks/table.py [benchmarks/results]
"""

import json
import pathlib
import statistics
import sys

from tabulate import tabulate

NAMES = {"tensorflow": "this repository", "stock": "stock Keras layers", "floor": "without normalization and dropout"}
NAMES |= {"baseline": "this repository, `baseline`", "xla": "this repository, XLA"}
NAMES |= {"calls-of-10": "this repository, 10 steps a call"}
NAMES |= {"pipeline": "this repository, from files", "decoding": "TensorFlow's decoding alone"}
NAMES |= {"decoding and resizing": "TensorFlow's decoding and resizing", "Pillow": "Pillow's decoding and resizing"}
NAMES |= {"torch-eager": "PyTorch", "torch-compile": "PyTorch, torch.compile"}


def table(rows: list[list[str]], header: tuple[str, ...]) -> str:
    """As Markdown, the first two columns to the left."""
    places = ["left", "left", *["right"] * (len(header) - 2)]
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=places)


def spread(values: list[float], digits: int) -> str:
    """Median (least, greatest)."""
    middle, least, greatest = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({least}, {greatest})"


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Median of the ratios round by round."""
    return f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}"


def network(record: dict) -> str:
    bottleneck = "B-" if record["bottleneck"] == "true" else ""
    words = [f"ResNet-{bottleneck}{record['depth']}", record["precision"].replace("mixed_", "")]
    words += [f"batch {record['batch']}"] if record["batch"] != 64 else []
    words += [f"{record['threads']} thread"] if record["threads"] else []
    return ", ".join(words)


def training(records: list[dict]) -> str:
    """Images a second of training; the first contender of a record is held against each."""
    rows = []
    for record in records:
        first = record["contenders"][0]
        for name, values in record.get("images_per_second", {}).items():
            memory = f"{record['peak_mib'][name]:.0f}"
            ours = ratio(record["images_per_second"][first], values)
            rows.append([network(record), NAMES.get(name, name), spread(values, 0), ours, memory])
    return table(rows, ("network", "training", "images/s", "ours over it", "peak MiB"))


def start_up(records: list[dict]) -> str:
    """Seconds from the start of the process to the end of the first step."""
    rows = []
    for record in records:
        first = record["contenders"][0]
        for name, values in record.get("seconds", {}).items():
            ours = ratio(record["seconds"][first], values)
            rows.append([network(record), NAMES.get(name, name), spread(values, 1), ours])
    return table(rows, ("network", "start", "s", "ours over it"))


def layers(times: dict[str, dict[str, list[float]]]) -> str:
    """Milliseconds of a layer, forward and backward."""
    rows = [
        [shape, name, spread(values, 2), ratio(found["stock"], values)]
        for shape, found in times.items()
        for name, values in found.items()
    ]
    return table(rows, ("shape", "layer", "ms", "times as fast as stock"))


def photographs(record: dict) -> str:
    """Photographs a second on one core."""
    rates = record["photographs_per_second"]
    rows = [
        [record["data"], NAMES[way], spread(values, 0), ratio(rates["pipeline"], values)]
        for way, values in rates.items()
    ]
    return table(rows, ("photographs", "on one core", "photographs/s", "ours over it"))


def main(folder: str = "benchmarks/results") -> None:
    path = pathlib.Path(folder)
    records = [json.loads(line) for line in (path / "training.jsonl").read_text().splitlines()]
    times, jpegs = (json.loads((path / name).read_text()) for name in ("layers.json", "photographs.json"))
    print("\n\n".join((training(records), start_up(records), layers(times["milliseconds"]), photographs(jpegs))))


if __name__ == "__main__":
    main(*sys.argv[1:])
