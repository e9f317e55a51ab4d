"""Tables of docs/speed.md, from what the benchmarks recorded.

python -m benchmarks.table [benchmarks/results]
"""

import argparse
import json
import pathlib

from tabulate import tabulate

from benchmarks import measure
from benchmarks.measure import spread

NAMES = {"stock": "stock Keras layers", "floor": "without normalization and dropout"}
NAMES |= dict.fromkeys(("tensorflow", "jax", "torch"), "this repository")
NAMES |= {"baseline": "this repository, `baseline`", "xla": "this repository, XLA"}
NAMES |= {"calls-of-10": "this repository, 10 steps a call"}
NAMES |= {"pipeline": "this repository, from TFRecords", "folder": "this repository, from a folder"}
NAMES |= {"decoding": "TensorFlow's decoding alone"}
NAMES |= {"decoding and resizing": "TensorFlow's decoding and resizing", "Pillow": "Pillow's decoding and resizing"}
NAMES |= {"torch-eager": "PyTorch without Keras", "torch-compile": "PyTorch without Keras, torch.compile"}
NAMES |= {"torch-compile-graph": "PyTorch without Keras, torch.compile, the step a CUDA graph"}
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def table(rows: list[list[str]], header: tuple[str, ...]) -> str:
    """As Markdown, the first two columns to the left."""
    places = ["left", "left", *["right"] * (len(header) - 2)]
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=places)


def ratio(ours: list[float], theirs: list[float]) -> str:
    return f"{measure.ratio(ours, theirs):.2f}"


def network(record: dict) -> str:
    bottleneck = "B-" if record["bottleneck"] == "true" else ""
    words = [f"ResNet-{bottleneck}{record['depth']}", record["precision"].replace("mixed_", "")]
    words += [f"batch {record['batch']}"] if record["batch"] != 64 else []
    words += [f"{record['threads']} thread"] if record["threads"] else []
    return ", ".join(words)


def called(name: str) -> str:
    """A contender, without the backend and the state of oneDNN that were asked for."""
    named, _, copies = name.partition("*")
    kind = named.partition(":")[0].partition("@")[0]
    return NAMES.get(kind, kind) + (f", {copies} side by side" if copies else "")


def backend(facts: dict) -> str:
    """What computed, and whether without oneDNN's kernels where it can have them."""
    name = BACKENDS[facts["backend"]]
    return f"{name}, oneDNN off" if facts.get("onednn") is False else name


def on(records: list[dict]) -> str:
    """The machines, with the GPUs that computed."""
    names = []
    for record in records:
        each, all_facts = machine(record), record.get("facts", {}).values()
        gpus = dict.fromkeys(name for facts in all_facts for name in facts["devices"] if not name.startswith("cpu"))
        cpu = f"{each['cpu']}, {each['cores']} cores, {', '.join(each['vectors'])}"
        names.append(" beside ".join([*gpus, cpu]))
    return f"On {'; '.join(dict.fromkeys(names))}:\n\n"


def machine(record: dict) -> dict:
    return {"vectors": ["vector instructions not recorded"]} | record["machine"]


def training(records: list[dict]) -> str:
    """Images a second of training; the first contender of a record is held against each."""
    rows = []
    for record in records:
        first = record["contenders"][0]
        for name, values in record.get("images_per_second", {}).items():
            memory = f"{record['peak_mib'][name]:.0f}"
            ours = ratio(record["images_per_second"][first], values)
            on_it = backend(record["facts"][name])
            rows.append([network(record), called(name), on_it, spread(values, 0), ours, memory])
    return on(records) + table(rows, ("network", "training", "backend", "images/s", "ours over it", "peak MiB"))


def start_up(records: list[dict]) -> str:
    """Seconds from the start of the process to the end of the first step."""
    rows = []
    for record in records:
        first = record["contenders"][0]
        for name, values in record.get("seconds", {}).items():
            ours = ratio(record["seconds"][first], values)
            rows.append([network(record), called(name), spread(values, 1), ours])
    return on(records) + table(rows, ("network", "start", "s", "ours over it"))


def layers(records: list[dict]) -> str:
    """Milliseconds of a layer, forward and backward."""
    rows = [
        [shape, name, backend(record["machine"]), spread(values, 2), ratio(found["stock"], values)]
        for record in records
        for shape, found in record["milliseconds"].items()
        for name, values in found.items()
    ]
    return on(records) + table(rows, ("shape", "layer", "backend", "ms", "times as fast as stock"))


def photographs(record: dict) -> str:
    """Photographs a second on one core, and what starting with a folder of many takes."""
    rates = record["photographs_per_second"]
    rows = [
        [record["data"], NAMES[way], spread(values, 0), ratio(rates["pipeline"], values)]
        for way, values in rates.items()
    ]
    parts = [on([record]) + table(rows, ("photographs", "on one core", "photographs/s", "ours over it"))]
    if start := record.get("folder_start"):
        took = f"{start['seconds']:.1f} s and {start['peak_mib']:,.0f} MiB, most of them TensorFlow's"
        parts.append(f"A folder of {start['files']:,} files is listed, and their order drawn, in {took}.")
    return "\n\n".join(parts)


def side_by_side(record: dict) -> str:
    """Seconds of a grid, and what its processes need."""
    first = "side by side"
    grid = "{runs} runs of ResNet-{depth}, {epochs} epochs of {train:,} images".format(**record)
    rows = [
        [grid, way, spread(values, 0), ratio(record["seconds"][first], values)]
        for way, values in record["seconds"].items()
    ]
    growth = max(most - start for start, most in record["launcher_mib"])
    side, alone = record["peak_mib"].values()
    memory = (
        f"The launcher grew by {growth:.0f} MiB at most while it had runs. The process of a run had {side:,.0f} MiB at "
        f"most, one alone {alone:,.0f}."
    )
    return on([record]) + table(rows, ("runs", "way", "s", "side by side over it")) + f"\n\n{memory}"


def read(path: pathlib.Path) -> list[dict]:
    """The records of a file, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def show(path: pathlib.Path) -> None:
    """Prints the tables of a folder of records, one for each file of trainings."""
    runs = [read(file) for file in sorted(path.glob("training*.jsonl"))]
    starts = [run for records in runs for run in records if "seconds" in run]
    jpegs, many = (json.loads((path / f"{name}.json").read_text()) for name in ("photographs", "side_by_side"))
    parts = [*map(training, runs), start_up(starts), side_by_side(many)]
    parts += [layers(read(path / "layers.jsonl")), photographs(jpegs)]
    print("\n\n".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=pathlib.Path, nargs="?", default="benchmarks/results", help="their folder")
    show(parser.parse_args().records)


if __name__ == "__main__":
    main()
