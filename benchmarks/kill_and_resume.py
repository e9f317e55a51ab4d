"""Kills a run with SIGKILL at random moments and resumes it: it must end as one that was never killed.

    python -m benchmarks.kill_and_resume [--kills 20] [--seed 0]
    python -m benchmarks.kill_and_resume --processes 4 --options "--config configs/digits.yaml --train.threads 1"

Every second kill waits for a checkpoint that is being written and strikes within 5 ms. Where several processes share a
grid, one of them is killed at some moment, and started once more: each run must be trained once, and end as in one
process that had all of them.
"""

import argparse
import contextlib
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from training.devices.backend import import_keras

import_keras()

from benchmarks.measure import setting  # noqa: E402
from training import checkpoint, cli, records  # noqa: E402

OPTIONS = "--config configs/digits.yaml --model.unit relu-ic-conv"
SHORT = f"{OPTIONS} --model.depth 8 --train.epochs 4 --train.drops [3]"


def start(out: pathlib.Path, options: str, stdout: Any = subprocess.DEVNULL) -> subprocess.Popen:
    command = [sys.executable, "train_cifar.py", *shlex.split(options), "--out", str(out)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


def run_directory(out: pathlib.Path, options: str) -> pathlib.Path:
    """Where the run's records go."""
    (run,), _ = cli.load([*shlex.split(options), "--out", str(out)])
    return run.directory


def finish(out: pathlib.Path, options: str) -> None:
    process = start(out, options)
    _, error = process.communicate()
    if process.returncode or error:
        raise RuntimeError(f"exit code {process.returncode}: {error}")


def end(out: pathlib.Path):
    """What `end_of` the one run in `out` is."""
    (directory,) = (path.parent for path in out.rglob("config.yaml"))
    return end_of(directory)


def end_of(directory: pathlib.Path):
    """What must be bit-identical of a run: weights, seed states, optimizer; history but for seconds."""
    record, state = records.read(directory), checkpoint.newest(directory / "checkpoints")
    assert record.status == "finished"
    assert state
    assert state.epochs == len(record.history) == record.config["train.epochs"]
    return state.variables, record.history.drop(columns=["seconds", "images_per_second"])


def same(one, other) -> bool:
    variables = zip(one[0], other[0], strict=True)
    return one[1].equals(other[1]) and all(
        path == other_path and array.dtype == other_array.dtype and np.array_equal(array, other_array)
        for (path, array), (other_path, other_array) in variables
    )


def kill(process: subprocess.Popen, directory: pathlib.Path, moment: float, writing: int) -> str:
    """Kills the run `moment` seconds after its first record, or after it begins the checkpoint of epoch `writing`."""
    sign = f"checkpoints/epoch-{writing:06d}.state*" if writing else "config.yaml"
    while process.poll() is None and not any(directory.glob(sign)):
        time.sleep(0.0002)  # a checkpoint is written within milliseconds
    time.sleep(moment)
    process.kill()
    process.communicate()
    left = [path.name for path in directory.rglob("*.new")]
    epochs = [path.stem for path in sorted(directory.glob("checkpoints/*.state"))]
    return f"checkpoints {', '.join(epochs) or 'none'}{f', while writing {left[0]}' if left else ''}"


def share(out: pathlib.Path, options: str, processes: int, moment: float) -> tuple[str, list[str]]:
    """Trains a grid with several processes, one of which is killed `moment` seconds after a first run has begun.

    Returns:
        Which run that one had, and the directory of each run as often as a process took it.
    """
    with contextlib.ExitStack() as files:
        said = [files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(processes + 1)]
        at_work = [start(out, options, said[number]) for number in range(processes)]
        while not any(out.rglob("config.yaml")):
            time.sleep(0.01)
        time.sleep(moment)
        held = {path.read_text().split()[1]: path.parent.parent.name for path in out.rglob("lock.holder")}
        victim = at_work.pop(random.Random(moment).randrange(processes))
        victim.kill()
        victim.communicate()
        at_work.append(start(out, options, said[processes]))
        for process in at_work:
            _, error = process.communicate()
            if process.returncode or error:
                raise RuntimeError(f"exit code {process.returncode}: {error}")
        taken = []
        for file in said:
            file.seek(0)
            taken += re.findall(r"^\[\d+/\d+\] (.*)\n(?!finished already)", file.read(), re.MULTILINE)
    return held.get(str(victim.pid), "none"), [pathlib.Path(path).name for path in taken]


def each_once(names: Iterable[str], taken: list[str], lost: str) -> bool:
    """Whether each run was taken once, but for the one that a killed process had: once more, if it had said so."""
    return sorted(taken) in (sorted(names), sorted([*names, *({lost} & {*names})]))


def share_and_kill(options: str, processes: int, kills: int, seed: int) -> int:
    """Shares a grid so many times, with a kill in each, and prints how it went."""
    moments, folder = random.Random(seed), pathlib.Path(tempfile.mkdtemp())
    begun = time.monotonic()
    finish(folder / "whole", options)
    seconds = (time.monotonic() - begun) / processes
    whole = {path.parent.name: end_of(path.parent) for path in (folder / "whole").rglob("config.yaml")}
    well = 0
    for number in range(1, kills + 1):
        out = folder / f"shared{number}"
        lost, taken = share(out, options, processes, moments.uniform(0, seconds))
        found = {path.parent.name: end_of(path.parent) for path in out.rglob("config.yaml")}
        identical = found.keys() == whole.keys() and all(same(found[name], whole[name]) for name in whole)
        once = each_once(whole, taken, lost)
        well += identical and once
        print(
            f"kill {number}, of a process with {lost}: {'identical' if identical else 'DIFFERENT'}, "
            f"{'each run trained once' if once else f'TRAINED {sorted(taken)}'}",
            flush=True,
        )
        shutil.rmtree(out)
    print(f"{well} of {kills} complete, with each run trained once and bit-identical to one process that has all")
    shutil.rmtree(folder)
    return int(well != kills)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=setting(20, 2))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--processes", type=int, default=1, help="that share a grid")
    parser.add_argument("--options", default=setting(OPTIONS, SHORT), help="of train_cifar.py")
    arguments = parser.parse_args()
    if arguments.processes > 1:
        return share_and_kill(arguments.options, arguments.processes, arguments.kills, arguments.seed)
    moments = random.Random(arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp())
    finish(folder / "whole", arguments.options)
    expected = end(folder / "whole")
    seconds = records.read_history(run_directory(folder / "whole", arguments.options))["seconds"].sum()
    equal = 0
    for number in range(1, arguments.kills + 1):
        out = folder / f"killed{number}"
        process, directory = start(out, arguments.options), run_directory(out, arguments.options)
        if number % 2:
            how = kill(process, directory, moments.uniform(0, seconds), writing=0)
        else:
            how = kill(process, directory, moments.uniform(0, 0.005), writing=moments.randint(1, len(expected[1])))
        finish(out, arguments.options)
        identical = same(end(out), expected)
        equal += identical
        print(f"kill {number}: {how}: {'identical' if identical else 'DIFFERENT'}", flush=True)
        shutil.rmtree(out)
    print(f"{equal} of {arguments.kills} end bit-identical")
    shutil.rmtree(folder)
    return int(equal != arguments.kills)


if __name__ == "__main__":
    sys.exit(main())
