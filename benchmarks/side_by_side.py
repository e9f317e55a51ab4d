"""Runs side by side beside the same runs one after another: seconds of the whole, and memory.

    python -m benchmarks.side_by_side [--runs 8] [--rounds 3] [--out FILE]

ResNet-20, two epochs of 5,000 images of CIFAR-10's shape, 10,000 to test. Side by side, `training.launch` gives each
run one thread, and has as many at a time as there are cores; one after another, one process has all cores. Memory is
that of the launcher while it has runs, and the peak of the processes of runs, beside a run alone. It needs Linux.
"""

import argparse
import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import yaml

from benchmarks import machine
from benchmarks.measure import in_turns, ratio, setting, spread
from training.devices import threads

DEPTH, TRAIN, TEST, EPOCHS = setting((20, 5_000, 10_000, 2), (8, 128, 64, 1))
LAUNCH, ONE, ALONE = "side by side", "one after another", "one run alone"


def config(folder: pathlib.Path, runs: int) -> pathlib.Path:
    """A grid of so many seeds, and its images."""
    values = np.random.default_rng(0)
    images: dict[str, Any] = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        images[f"x_{part}"] = values.integers(0, 256, (count, 32, 32, 3), np.uint8)
        images[f"y_{part}"] = values.integers(0, 10, count)
    np.savez(folder / "images.npz", **images)
    content = {
        "data": {"name": str(folder / "images.npz")},
        "model": {"depth": DEPTH},
        "grid": {"seed": [*range(runs)]},
    }
    path = folder / "runs.yaml"
    path.write_text(yaml.safe_dump(content | {"train": {"epochs": EPOCHS, "drops": []}}))
    return path


def mib(pid: int | str, what: str) -> float:
    """What Linux says of the memory of a process: VmRSS, that it has, or VmHWM, the most that it had; 0: it is over."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return 0.0


def watch(command: list[str]) -> tuple[float, list[float], list[float]]:
    """Seconds of a command, MiB that it has while it has processes of its own, and the peak of each of them, or its."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    has: list[float] = []
    peaks: dict[str, float] = {}
    while process.poll() is None:
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            has += [mib(process.pid, "VmRSS")] if children else []
            for pid in children or [str(process.pid)]:
                peaks[pid] = max(peaks.get(pid, 0), mib(pid, "VmHWM"))
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    if has:
        peaks.pop(str(process.pid), None)
    return time.perf_counter() - begun, has, [*peaks.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=setting(8, 2))
    parser.add_argument("--rounds", type=int, default=setting(3, 1))
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    cores = threads.cores()
    watched: dict[str, list] = {name: [] for name in (LAUNCH, ONE, ALONE)}
    with tempfile.TemporaryDirectory() as folder:
        train = ["train_cifar.py", "--config", str(config(pathlib.Path(folder), arguments.runs))]
        commands = {LAUNCH: ["-m", "training.launch", "--per_device", str(cores), *train]}
        commands |= {
            ONE: [*train, "--train.threads", str(cores)],
            ALONE: [*train, "--seed", "0", "--train.threads", "1"],
        }

        def measure(name):
            with tempfile.TemporaryDirectory() as out:
                watched[name].append(watch([*commands[name], "--out", out]))
            return watched[name][-1][0]

        alone = measure(ALONE)
        seconds = in_turns({name: functools.partial(measure, name) for name in (LAUNCH, ONE)}, arguments.rounds)
    peak = {name: max(peak for _, _, peaks in watched[name] for peak in peaks) for name in (LAUNCH, ALONE)}
    launcher = [(has[0], max(has)) for _, has, _ in watched[LAUNCH]]
    for name, values in seconds.items():
        print(f"{name:20} {spread(values, 1)} s")
    print(f"{LAUNCH} takes {ratio(seconds[LAUNCH], seconds[ONE]):.2f} of the time; a run alone {alone:.1f} s")
    print("launcher, MiB at its first run and at most:", ", ".join(f"{at:.0f} {most:.0f}" for at, most in launcher))
    print("processes of runs, peak MiB:", ", ".join(f"{name} {values:.0f}" for name, values in peak.items()))
    if arguments.out:
        settings = {"machine": machine.describe(), "runs": arguments.runs, "depth": DEPTH, "train": TRAIN, "test": TEST}
        found = {"epochs": EPOCHS, "seconds": seconds, "launcher_mib": launcher, "peak_mib": peak}
        arguments.out.write_text(json.dumps(settings | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
