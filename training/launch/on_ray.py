"""Runs as tasks of a Ray cluster: it schedules them, and tries those again whose process or node is lost."""

import os
import pathlib
import socket
import traceback
from typing import Any

from training.errors import UserError
from training.launch import worker
from training.launch.jobs import GRACE, LOG, RESTARTS, STOPPED, Job
from training.launch.local import environment

PATIENCE = 10  # seconds, for a cluster to answer
PASSED_ON = ("KERAS", "TF_", "XLA", "JAX", "PYTHONPATH")  # variables that begin so


def train(folder: str, log: str, arguments: dict) -> int:
    """What a task does, in a process of its own: trains a run, with its words in `log`."""
    os.chdir(folder)
    with pathlib.Path(log).open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        return worker.train(**arguments)
    except Exception:
        traceback.print_exc()
        raise


class Cluster:
    """Gives Ray a task for each run.

    Args:
        jobs: the runs, in their order.
        command: the script that trains them, and its command line.
        per_device: runs side by side on a GPU, or on a node's cores where no node has GPUs.
        address: of the cluster; "local" starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, jobs: list[Job], command: list[str], per_device: int, address: str):
        try:
            import ray
        except ImportError as error:
            raise UserError("--ray: expected Ray, found it not installed; requirements-ray.txt has it") from error
        host, _, port = address.removeprefix("ray://").rpartition(":")
        variables = {name: value for name, value in environment().items() if name.startswith(PASSED_ON)}
        try:
            if host:  # Ray would try for many minutes
                socket.create_connection((host, int(port)), timeout=PATIENCE).close()
            ray.init(address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": variables})
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"--ray: expected a cluster at {address}, found none: {error}") from error
        self._ray, self._jobs, self._command = ray, jobs, command
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(node.get("GPU", 0) for node in nodes)
        self._side_by_side = per_device * int(gpus or len(nodes))
        share = max(1, int(min(node.get("CPU", 1) for node in nodes)) // per_device)
        self._threads = None if gpus else share
        need = {"num_gpus": 1 / per_device} if gpus else {"num_cpus": share}
        self._task = ray.remote(max_calls=1, max_retries=RESTARTS, retry_exceptions=True, **need)(train)
        self._tasks: dict[Any, Job] = {}

    def side_by_side(self) -> int:
        """Runs at a time."""
        return self._side_by_side

    def settle(self) -> None:
        """Sees which runs have ended, and how."""
        done = self._ray.wait([*self._tasks], num_returns=len(self._tasks), timeout=0)[0] if self._tasks else []
        for task in done:
            self._settle(task)

    def start(self) -> bool:
        """Hands on what can start; whether anything is under way."""
        for job in self._jobs:
            if job.state == "waiting" and job not in self._tasks.values():
                job.begin("ray")
                if job.state == "failed":
                    continue
                directory, log = str(job.run.directory), str(job.run.directory / LOG)
                arguments: dict[str, Any] = {"script": self._command[0], "argv": self._command[1:]}
                arguments |= {"directory": directory, "threads": self._threads}
                self._tasks[self._task.remote(str(pathlib.Path.cwd()), log, arguments)] = job
        for job in self._tasks.values():
            job.state = "running" if (holder := job.holder()) else "waiting"
            job.place = holder
        return bool(self._tasks)

    def _settle(self, task):
        job = self._tasks.pop(task)
        try:
            code = self._ray.get(task)
        except self._ray.exceptions.TaskCancelledError:
            code = STOPPED[0]
        except self._ray.exceptions.RayError:
            code, job.restarts = 1, 0  # Ray has tried it again
        job.settle(code)

    def end(self) -> None:
        """Has all tasks end after their batch; kills those that do not in time, which costs them an epoch."""
        for force in (False, True):
            for task in self._tasks:
                self._ray.cancel(task, force=force)
            if self._tasks:
                self._ray.wait([*self._tasks], num_returns=len(self._tasks), timeout=GRACE)
        for task in [*self._tasks]:
            self._settle(task)
        self._ray.shutdown()
