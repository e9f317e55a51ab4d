"""Kills a run with SIGKILL at random moments and resumes it: it must end as one that was never killed.

python -m benchmarks.kill_and_resume [--kills 20] [--seed 0]

Every second kill waits for a checkpoint that is being written and strikes within 5 ms.
"""

import argparse
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from training.devices.backend import import_keras

import_keras()

from benchmarks.measure import setting  # noqa: E402
from training import checkpoint, cli, records  # noqa: E402

OPTIONS = "--config configs/digits.yaml --model.unit relu-ic-conv"
SHORT = f"{OPTIONS} --model.depth 8 --train.epochs 4 --train.drops [3]"


def start(out: pathlib.Path, options: str) -> subprocess.Popen:
    command = [sys.executable, "train_cifar.py", *shlex.split(options), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


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
    """What must be bit-identical of the one run in `out`: weights, seed states, optimizer; history but for seconds."""
    (directory,) = (path.parent for path in out.rglob("config.yaml"))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=setting(20, 2))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--options", default=setting(OPTIONS, SHORT), help="of train_cifar.py")
    arguments = parser.parse_args()
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
