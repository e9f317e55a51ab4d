"""What a process runs with: for env.json, and for the records of benchmarks."""

import contextlib
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from typing import Any

from training.devices import threads
from training.devices.backend import accelerators, onednn

TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-datasets")
PACKAGES = ("keras", *TENSORFLOW, "jax", "jaxlib", "torch", "numpy", "scikit-learn")


def kernels() -> dict[str, Any]:
    """What computes in this process: the backend, whether TensorFlow's oneDNN kernels are on, threads of the CPU.

    There is no word of oneDNN on other backends, nor of threads where accelerators compute.
    """
    import keras

    backend = keras.backend.backend()
    found = {"backend": backend} | ({"onednn": onednn()} if backend == "tensorflow" else {})
    return found if accelerators() else found | {"threads": threads.number()}


def environment() -> dict[str, Any]:
    """Command, commit, versions, device and host cores of this process."""
    packages = {}
    for name in sorted(PACKAGES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "packages": packages,
        **kernels(),
        "devices": _devices(),
        "machine": platform.machine(),
        "host_cores": os.cpu_count(),
    }


def _devices():
    """What the backend computes on, by the name of the model where it is told."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices()]
    if keras.backend.backend() == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"]
    return keras.distribution.list_devices() or ["cpu"]


def _git(*arguments):
    here = pathlib.Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
