"""Runs in processes of this machine: so many at a time on each GPU, or on the CPU's cores."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

from training.devices import strategy, threads
from training.errors import UserError
from training.launch.jobs import GRACE, LOG, STOPPED, Job, last_words

ROOT = pathlib.Path(__file__).parents[2]
WORKER = ("-m", "training.launch.worker")
PROBE = """
from training.devices.backend import accelerators, import_keras
import_keras()
print(len(accelerators()))
"""
SHARED = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # of a GPU, by several runs
COMPILED = "compiled"  # programs of JAX, by which a run that goes on need not compile, and takes the same kernels
CRASHES = 3  # so many runs in a row that crash on a device, and it is given up if there is another one


@dataclasses.dataclass(eq=False)
class Place:
    """Where one run at a time computes: a GPU, or a share of one or of the CPU's threads.

    Attributes:
        name: of the device.
        environment: variables of the run's process.
        threads: of the CPU, that it may have; None: all.
        crashed: the runs that crashed here since one did not.
        job: the run that is here.
        process: its process.
    """

    name: str
    environment: dict[str, str]
    threads: int | None = None
    crashed: set[Job] = dataclasses.field(default_factory=set)
    job: Job | None = None
    process: subprocess.Popen | None = None


def find_places(per_device: int) -> list[Place]:
    """`per_device` places on each GPU that the backend sees, one after another GPU; where there is none, on the CPU.

    Raises:
        UserError: the backend cannot say.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = 0
    if visible or (visible is None and any(strategy.DRIVER.glob("*"))):
        done = subprocess.run([sys.executable, "-c", PROBE], env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"CUDA_VISIBLE_DEVICES: expected GPUs that can be listed, found {last_words(done.stderr)}")
        count = int(done.stdout.split()[-1])
    gpus = (visible.split(",") if visible else [str(i) for i in range(count)])[:count]
    if gpus:
        shared = SHARED if per_device > 1 else {}
        return [Place(f"gpu {gpu}", shared | {"CUDA_VISIBLE_DEVICES": gpu}) for _ in range(per_device) for gpu in gpus]
    share = max(1, threads.cores() // per_device)
    return [Place("cpu", {}, share) for _ in range(per_device)]


def environment() -> dict[str, str]:
    """That of this process, with which another one finds this repository and is no worker among several."""
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    own = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def start(arguments: dict, environ: dict[str, str], path: pathlib.Path) -> subprocess.Popen:
    """Starts the process of a run, which ends when this one does, and says what it has to say in a file.

    Raises:
        OSError: it cannot be started.
    """
    with path.open("a") as log:
        command = [sys.executable, *WORKER, json.dumps(arguments)]
        return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log)


class Local:
    """Starts the processes, a new one for a run that crashed, and ends them.

    Args:
        jobs: the runs, in their order.
        command: the script that trains them, and its command line.
        per_device: runs side by side on a GPU, or on the CPU.
    """

    def __init__(self, jobs: list[Job], command: list[str], per_device: int):
        self.jobs = jobs
        self.places = find_places(per_device)
        self._command = command
        self._tried: dict[Job, set[str]] = {job: set() for job in jobs}  # devices on which it crashed

    def side_by_side(self) -> int:
        """Runs at a time."""
        return len(self.places)

    def settle(self) -> None:
        """Sees which runs have ended, and how."""
        for place in [*self.places]:
            if place.process and (code := place.process.poll()) is not None:
                self._settle(place, code)

    def start(self) -> bool:
        """Starts what can start; whether anything is under way."""
        for place in [place for place in self.places if not place.job]:
            for job in self.jobs:
                if job.state == "waiting" and not (place.name in self._tried[job] and self._has_another(job)):
                    job.look()
                    if job.state == "waiting":
                        self._start(job, place)
                        break
        return any(place.job for place in self.places)

    def _has_another(self, job):
        """Whether there is a device on which this run did not crash."""
        return any(place.name not in self._tried[job] for place in self.places)

    def _start(self, job, place):
        job.begin(place.name)
        if job.state == "failed":
            return
        arguments = {"script": self._command[0], "argv": self._command[1:], "directory": str(job.run.directory)}
        compiled = {"JAX_COMPILATION_CACHE_DIR": str((job.run.directory / COMPILED).absolute())}
        environ = environment() | place.environment | compiled
        place.process = start(arguments | {"threads": place.threads}, environ, job.run.directory / LOG)
        place.job = job

    def _settle(self, place, code):
        job, crashes = place.job, place.job.crashes
        place.process.stdin.close()
        place.job = place.process = None
        job.settle(code)
        crashed = job.crashes > crashes or (job.state == "failed" and code != 2)
        if not crashed:
            place.crashed.clear()
            return
        place.crashed.add(job)
        self._tried[job].add(place.name)
        if len(place.crashed) == CRASHES and any(other.name != place.name for other in self.places):
            self.places.remove(place)
            print(f"{place.name}: given up, for {CRASHES} runs crashed on it one after another", file=sys.stderr)

    def end(self) -> None:
        """Has all processes end after their batch; kills those that do not in time, which costs them an epoch."""
        busy = [(place, place.process) for place in self.places if place.process]
        for _, process in busy:
            process.terminate()
        latest = time.monotonic() + GRACE
        for place, process in busy:
            try:
                code = process.wait(max(0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = STOPPED[0]
            self._settle(place, code)
