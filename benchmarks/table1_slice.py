"""Goes on with the next cells of Table 1 for some minutes, for machines that are lent in slices.

    python benchmarks/table1_slice.py --minutes 25 --out slices [--side_by_side 2] [KEYS of train_cifar.py ...]

Cells come in the order that answers most: ResNet-110 on CIFAR-10 (baseline and relu-ic-conv first), CIFAR-100,
ResNet-B-110, the depth of 164, then further seeds. A cell counts when its 200 epochs are done. What the next slice goes
on from is left in `OUT/state.zip.NN`, files of at most 15 MiB; the run directories beside them hold the records. With
JAX the compiled programs are among it: the next slice need not compile, and takes the same kernels, none of those whose
results differ from call to call, so that a run that goes on ends as one that never stopped.
"""

import argparse
import io
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).parent.parent
PART = 15 * 2**20
UNITS = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
NETWORKS = [("cifar10", False, 110), ("cifar100", False, 110), ("cifar10", True, 110), ("cifar100", True, 110)]
NETWORKS += [(data, bottleneck, 164) for bottleneck in (False, True) for data in ("cifar10", "cifar100")]
COMPILED = "compiled"
JAX = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several runs on one GPU
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # their folder would be a part of what a program is found by
    "XLA_FLAGS": "--xla_gpu_exclude_nondeterministic_ops=true",
}
GRACE = 20  # seconds that a run may take to end


def cells() -> list[tuple[str, str]]:
    """Each cell's run directory below the folder of runs, and its options of train_cifar.py, the first ones first."""
    out = []
    for seed, (data, bottleneck, depth), unit in itertools.product(range(3), NETWORKS, UNITS):
        name = f"table1-{data}/resnet-{'b-' if bottleneck else ''}{depth}-{unit}-seed{seed}"
        options = f"--config configs/table1-{data}.yaml --model.bottleneck {str(bottleneck).lower()}"
        out.append((name, f"{options} --model.depth {depth} --model.unit {unit} --seed {seed}"))
    return out


def unpack(out: pathlib.Path) -> None:
    """Puts the runs of the last slice in their places; a run that is there already stays as it is."""
    content = b"".join(part.read_bytes() for part in sorted(out.glob("state.zip.*")))
    there = {config.parent.relative_to(out) for config in out.glob("*/*/config.yaml")}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        new = [name for name in archive.namelist() if not there.intersection(pathlib.Path(name).parents)]
        archive.extractall(out, new)


def pack(out: pathlib.Path) -> None:
    """Leaves the records, and of each run that has no end yet what it goes on from, in files of at most 15 MiB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for config in sorted(out.glob("*/*/config.yaml")):
            directory = config.parent
            paths = [path for path in directory.iterdir() if path.is_file()]
            if not ended(directory):
                paths += sorted(directory.glob("checkpoints/epoch-*.state"))[-1:]
                paths += directory.glob(f"{COMPILED}/*")
            for path in sorted(paths):
                archive.write(path, path.relative_to(out))
    data = content.getvalue()
    for old in out.glob("state.zip.*"):
        old.unlink()
    for number, start in enumerate(range(0, len(data), PART)):
        (out / f"state.zip.{number:02d}").write_bytes(data[start : start + PART])


def run(jobs: list[tuple[str, str]], seconds: float, out: pathlib.Path, side_by_side: int) -> int:
    """Runs jobs, so many at a time, and ends those that are under way in time.

    Returns:
        The exit code: 0, or that of a run that could not be started.
    """
    end = time.monotonic() + seconds - GRACE
    left = iter([(name, options) for name, options in jobs if not ended(out / name)])
    running: dict[str, subprocess.Popen] = {}
    environment = JAX | os.environ
    code = 0
    while time.monotonic() < end and not code:
        for name in [name for name, process in running.items() if process.poll() is not None]:
            if running.pop(name).returncode not in (0, 3):  # 3: diverged
                code = 2
                print((out / name / "log.txt").read_text()[-2000:], file=sys.stderr)
        for name, options in itertools.islice(left, side_by_side - len(running)):
            print(f"running {name}", flush=True)
            (out / name).mkdir(parents=True, exist_ok=True)
            with (out / name / "log.txt").open("a") as log:
                command = [sys.executable, "train_cifar.py", *options.split(), "--out", str(out.absolute())]
                compiled = {"JAX_COMPILATION_CACHE_DIR": str((out / name / COMPILED).absolute())}
                process = subprocess.Popen(command, cwd=ROOT, env=environment | compiled, stdout=log, stderr=log)
                running[name] = process
        if not running:
            break
        time.sleep(0.2)
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    for process in running.values():
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()  # the last whole epoch is there
            process.wait()
    return code


def ended(directory: pathlib.Path) -> bool:
    """Whether a run is finished, or diverged: nothing is left to do."""
    result = directory / "result.json"
    return result.exists() and '"status": "interrupted"' not in result.read_text()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--side_by_side", type=int, default=1, help="runs at a time")
    arguments, keys = parser.parse_known_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if any(arguments.out.glob("state.zip.*")):
        unpack(arguments.out)
    jobs = [(name, " ".join([options, *keys])) for name, options in cells()]
    code = run(jobs, 60 * arguments.minutes, arguments.out, arguments.side_by_side)
    pack(arguments.out)
    for name, _ in jobs:
        history = arguments.out / name / "history.csv"
        if history.exists():
            print(f"{name}: {len(history.read_text().splitlines()) - 1} epochs")
    return code


if __name__ == "__main__":
    sys.exit(main())
