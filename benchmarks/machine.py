"""The machine of a benchmark, for its record."""

import os
import pathlib
import platform


def describe() -> dict:
    """Name of the processor, and number of cores."""
    info = pathlib.Path("/proc/cpuinfo")  # of Linux
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count()}
