"""Goes on with the next cells of Table 1 for some minutes, for machines that are lent in slices.

    python -m benchmarks.table1_slice --minutes 25 --out slices [--side_by_side 2] [KEYS of train_cifar.py ...]

Cells come in the order that answers most: ResNet-110 on CIFAR-10 (baseline and relu-ic-conv first), CIFAR-100,
ResNet-B-110, the depth of 164, then further seeds. A cell counts when its 200 epochs are done. What the next slice goes
on from is left in `OUT/state.NNNN`, in files of at most 15 MiB; the run directories beside it hold the records. With
JAX the compiled programs are among it: the next slice need not compile, and takes the same kernels, none of those whose
results differ from call to call, so that a run that goes on ends as one that never stopped.

Exit codes: 0, 2 a mistake of yours, or a run that could not go on; 130 ended early, by Ctrl-C or SIGTERM, and packed.
"""

import argparse
import io
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zipfile

from training.devices.backend import import_keras

import_keras()

from training import cli, files, records  # noqa: E402
from training.errors import UserError, exit_codes  # noqa: E402
from training.interrupt import Interruption  # noqa: E402

PART = 15 * 2**20
UNITS = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
NETWORKS = [("cifar10", False, 110), ("cifar100", False, 110), ("cifar10", True, 110), ("cifar100", True, 110)]
NETWORKS += [(data, bottleneck, 164) for bottleneck in (False, True) for data in ("cifar10", "cifar100")]
COMPILED = "compiled"
JAX = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several runs on one GPU
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # their folder would be a part of what a program is found by
}
DETERMINISTIC = "--xla_gpu_exclude_nondeterministic_ops=true"
GRACE = 20  # seconds that runs may take to end
ENDED_WELL = (0, 3, 130, -signal.SIGINT, -signal.SIGTERM)  # finished, diverged, interrupted; that before it began


def cells(out: pathlib.Path, keys: list[str]) -> dict[pathlib.Path, list[str]]:
    """Each cell's run directory, and its command line of train_cifar.py, the first ones first.

    Raises:
        UserError: train_cifar.py has no such keys.
    """
    found = {}
    for seed, (data, bottleneck, depth), unit in itertools.product(range(3), NETWORKS, UNITS):
        options = ["--config", f"configs/table1-{data}.yaml", "--model.bottleneck", str(bottleneck).lower()]
        options += ["--model.depth", str(depth), "--model.unit", unit, "--seed", str(seed), *keys, "--out", str(out)]
        (run,), _ = cli.load(options)
        found[run.directory] = options
    return found


def progress(directory: pathlib.Path | zipfile.Path) -> tuple[bool, int]:
    """Whether a run has its end, finished or diverged, and its epochs; (False, -1) where its records are not whole."""
    if not all((directory / name).exists() for name in records.SEALED):
        return False, -1
    result = directory / "result.json"
    ended = result.exists() and json.loads(result.read_text())["status"] != "interrupted"
    return ended, len((directory / "history.csv").read_text().splitlines()) - 1


def unpack(out: pathlib.Path) -> None:
    """Puts in its place what the last slice packed: records that are further than those here, and what is missing here.

    Raises:
        UserError: a part is missing.
    """
    packed = sorted(out.glob("state.[0-9]*"))
    if not packed:
        return
    parts = sorted(packed[-1].glob("*-of-*"))
    if not parts or len(parts) != int(parts[0].name.partition("-of-")[2]):
        raise UserError(
            f"{packed[-1]}: expected all of its parts, found {', '.join(part.name for part in parts) or 'none'}; bring "
            "the others, or delete this folder to go on from what else is here"
        )
    archive = zipfile.ZipFile(io.BytesIO(b"".join(part.read_bytes() for part in parts)))
    names = archive.namelist()
    for directory in [name.removesuffix("config.yaml") for name in names if name.endswith("/config.yaml")]:
        here, result = progress(out / directory), f"{directory}result.json"
        further = progress(zipfile.Path(archive, directory)) > here
        if further:
            (out / result).unlink(missing_ok=True)  # of the records that go
        for name in names:
            lacks = not here[0] and name != result and not (out / name).exists()
            if name.startswith(directory) and (further or lacks):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                files.replace(out / name, archive.read(name))


def pack(out: pathlib.Path) -> None:
    """Leaves the records, and of each run that has no end yet what it goes on from, in files of at most 15 MiB.

    What was packed before is there until all of it is.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", strict_timestamps=False) as archive:  # files that came back may be from 1970
        for config in sorted(out.rglob("config.yaml")):
            directory = config.parent
            paths = [path for path in directory.iterdir() if path.is_file()]
            if not progress(directory)[0]:
                paths += sorted(directory.glob("checkpoints/epoch-*.state"))[-1:]
                paths += directory.glob(f"{COMPILED}/*")
            for path in sorted(paths):
                archive.write(path, path.relative_to(out))
    data = content.getvalue()
    before, new, starts = sorted(out.glob("state.[0-9]*")), out / "state.new", range(0, len(data), PART)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for number, start in enumerate(starts, 1):
        files.replace(new / f"{number:03}-of-{len(starts):03}", data[start : start + PART])
    new.rename(out / f"state.{1 + max((int(folder.suffix[1:]) for folder in before), default=0):04}")
    for folder in before:
        shutil.rmtree(folder)


def run(jobs: dict[pathlib.Path, list[str]], seconds: float, side_by_side: int, interruption: Interruption) -> int:
    """Runs what has no end yet, so many at a time, and ends in time what is under way.

    Returns:
        The exit code: 0; 2, a run could not go on; 130, interrupted.
    """
    end = time.monotonic() + seconds - GRACE
    left = (directory for directory in jobs if not progress(directory)[0])
    running: dict[pathlib.Path, subprocess.Popen] = {}
    failed = False
    try:
        while time.monotonic() < end and not failed and not interruption.requested:
            for directory in itertools.islice(left, side_by_side - len(running)):
                print(f"running {directory}", flush=True)
                running[directory] = start(directory, jobs[directory])
            if not running:
                break
            time.sleep(0.2)
            for directory in [each for each, process in running.items() if process.poll() is not None]:
                failed |= went_wrong(directory, running.pop(directory))
    finally:
        for process in running.values():
            process.terminate()
        latest = time.monotonic() + GRACE
        for directory, process in running.items():
            try:
                process.wait(max(0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()  # the last whole epoch is there
                process.wait()
            else:
                failed |= went_wrong(directory, process)
    return 2 if failed else 130 if interruption.requested else 0


def start(directory: pathlib.Path, options: list[str]) -> subprocess.Popen:
    """Starts train_cifar.py, which says what it has to say in log.txt."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}"
    paths = {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str((directory / COMPILED).absolute())}
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log.txt").open("a") as log:
        command = [sys.executable, "train_cifar.py", *options]
        return subprocess.Popen(command, env=JAX | os.environ | paths, stdout=log, stderr=log)


def went_wrong(directory: pathlib.Path, process: subprocess.Popen) -> bool:
    """Whether a run that is over could not go on; it then shows why."""
    if process.returncode in ENDED_WELL:
        return False
    said = (directory / "log.txt").read_text(errors="replace")[-2000:]
    print(f"{directory}: exit code {process.returncode}", said, file=sys.stderr)
    return True


@exit_codes
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--side_by_side", type=int, default=1, help="runs at a time")
    arguments, keys = parser.parse_known_args()
    try:
        with Interruption() as interruption:
            jobs = cells(arguments.out, keys)
            unpack(arguments.out)
            try:
                code = run(jobs, 60 * arguments.minutes, arguments.side_by_side, interruption)
            finally:
                pack(arguments.out)
    except OSError as error:
        raise UserError(error) from error
    for directory in jobs:
        if (directory / "history.csv").exists():
            print(f"{directory}: {progress(directory)[1]} epochs")
    return code


if __name__ == "__main__":
    sys.exit(main())
