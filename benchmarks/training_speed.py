"""Images a second of training, contenders in turns on one machine.

    python -m benchmarks.training_speed --contenders jax torch-eager torch-compile [--depth 110] [--unit baseline] ...

A contender is a Keras backend (tensorflow, jax, torch: the training of train_cifar.py, its batches included), a way of
speed_keras.py (`stock` on TensorFlow, `stock@jax` on another backend), or one of speed_torch.py behind `torch-`;
`jax*3` is three of them side by side.
`tensorflow:on` and `:off` have oneDNN's kernels on and off; without it each has what its user gets. All are started
first, then each trains in its turn; shown are the median over the rounds, the least and the greatest, and the
most memory held. --start_up measures something else: the seconds from the start of a contender, alone, to the end of
its first step. --ceilings measures what PyTorch gets out of the device in one copy and one matrix product, and shows
the time that no program can go below. --out adds what was measured to a file, one JSON object a line. Contenders start
with this Python, those of speed_torch.py with --torch_python.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks import machine
from benchmarks.measure import in_turns, ratio, setting, spread

WAYS = ("stock", "baseline", "floor", "xla", "calls-of-10")  # of speed_keras.py
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


class Contender:
    """So many equal processes that train at the same time."""

    def __init__(self, name: str, arguments: argparse.Namespace):
        named, _, copies = name.partition("*")
        kind, _, onednn = named.partition(":")
        peer = kind.startswith("torch-")
        way, _, backend = kind.partition("@")
        backend, way = ("torch", kind[6:]) if peer else (backend or "tensorflow", way) if way in WAYS else (way, "")
        python, module = (arguments.torch_python, "speed_torch") if peer else (sys.executable, "speed_keras")
        wanted = {
            key: getattr(arguments, key) for key in ("depth", "bottleneck", "unit", "precision", "batch", "steps")
        }
        options = [word for key, value in (wanted | {"way": way}).items() for word in (f"--{key}", str(value))]
        environment = os.environ | {"KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if onednn:
            environment["TF_ENABLE_ONEDNN_OPTS"] = str(("off", "on").index(onednn))
        elif way == "stock":
            environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "default")  # neither 0 nor 1: TensorFlow's own choice
        if arguments.threads:
            environment |= dict.fromkeys(THREADS, str(arguments.threads))
        self.name = name
        self.processes: list[Any] = [  # Popen, but that its pipes are there
            subprocess.Popen(
                [python, "-m", f"benchmarks.contenders.{module}", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for _ in range(int(copies or 1))
        ]
        self.images = arguments.batch * arguments.steps * len(self.processes)

    def answers(self) -> list[dict]:
        """What each process says next.

        Raises:
            SystemExit: one has ended.
        """
        lines = [process.stdout.readline() for process in self.processes]
        if not all(lines):
            sys.exit(f"error: --contenders: expected {self.name} to train, found that it ended")
        return [json.loads(line) for line in lines]

    def turn(self) -> float:
        """Images a second; `peak` is then the most MiB that the processes have held."""
        begun = time.perf_counter()
        for process in self.processes:
            process.stdin.write("\n")
            process.stdin.flush()
        self.peak = sum(answer["peak_mib"] for answer in self.answers())
        return self.images / (time.perf_counter() - begun)

    def end(self) -> None:
        for process in self.processes:
            process.stdin.close()
            process.wait()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contenders", nargs="+", required=True)
    parser.add_argument("--depth", type=int, default=setting(110, 8))
    parser.add_argument("--bottleneck", choices=("false", "true"), default="false")
    parser.add_argument("--unit", default="relu-ic-conv")
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=setting(100, 10), help="of a turn")
    parser.add_argument("--threads", type=int, help="of TensorFlow and PyTorch; else they choose")
    parser.add_argument("--rounds", type=int, default=setting(5, 1))
    parser.add_argument("--start_up", action="store_true")
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--torch_python", default=sys.executable)
    return parser.parse_args()


def start_up(name: str, arguments: argparse.Namespace) -> float:
    """Seconds from the start of a contender to the end of its first step."""
    begun = time.perf_counter()
    contender = Contender(name, arguments)
    contender.answers()
    seconds = time.perf_counter() - begun
    contender.end()
    return seconds


def write(path: pathlib.Path, arguments: argparse.Namespace, **found: object) -> None:
    """Adds a line to the file."""
    settings = {key: value for key, value in vars(arguments).items() if key not in ("out", "torch_python")}
    with path.open("a") as file:
        file.write(json.dumps({"machine": machine.describe(), **settings, **found}) + "\n")


def main() -> None:
    arguments = options()
    if arguments.start_up:
        arguments.steps = 1
        starts = {name: functools.partial(start_up, name, arguments) for name in arguments.contenders}
        seconds = in_turns(starts, arguments.rounds)
        for name, values in seconds.items():
            part = ratio(seconds[arguments.contenders[0]], values)
            print(f"{name:24} {spread(values, 1)} s, {arguments.contenders[0]} needs {part:.2f} of it")
        if arguments.out:
            write(arguments.out, arguments, seconds=seconds)
        return
    ceilings = Contender("torch-ceilings", arguments).answers()[0] if arguments.ceilings else None
    contenders = {name: Contender(name, arguments) for name in arguments.contenders}
    facts = {name: contender.answers()[0] for name, contender in contenders.items()}
    if len({fact["parameters"] for name, fact in facts.items() if name != "floor"}) > 1:
        sys.exit(f"error: expected networks of as many parameters each, found {facts}")
    rates = in_turns({name: contender.turn for name, contender in contenders.items()}, arguments.rounds)
    for contender in contenders.values():
        contender.end()
    network = f"ResNet-{'B-' if arguments.bottleneck == 'true' else ''}{arguments.depth}, {arguments.unit}"
    print(f"{network}, {arguments.precision}, batch {arguments.batch}: images a second, median (least, greatest)")
    if ceilings:
        work = next(fact for fact in facts.values() if "flops" in fact)
        floor = max(
            work["flops"] / ceilings["matrix_flops_per_second"], work["bytes"] / ceilings["copy_bytes_per_second"]
        )
        print(f"{'no program above':24} {arguments.batch / floor:9.1f}, {1000 * floor:.2f} ms a step")
    first = rates[arguments.contenders[0]]
    for name, values in rates.items():
        copies = int(name.partition("*")[2] or 1)
        milliseconds = 1000 * arguments.batch * copies / statistics.median(values)
        print(
            f"{name:24} {spread(values, 1)}, {milliseconds:.2f} ms a step, "
            f"{contenders[name].peak:.0f} MiB, {arguments.contenders[0]} is {ratio(first, values):.2f}x"
        )
    if arguments.out:
        peaks = {name: contender.peak for name, contender in contenders.items()}
        found = {"ceilings": ceilings, "facts": facts, "images_per_second": rates, "peak_mib": peaks}
        write(arguments.out, arguments, **found)


if __name__ == "__main__":
    main()
