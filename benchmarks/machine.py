"""The machine of a benchmark, for its record."""

import os
import pathlib
import platform

# What kernels are chosen by, as /proc/cpuinfo of Linux has it.
VECTORS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_tile": "AMX",
}


def describe() -> dict:
    """Name of the processor, its vector instructions, and number of cores."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in path.read_text().splitlines()] if path.exists() else []
    first = {name.strip(): value.strip() for name, _, value in reversed(lines)}
    flags = first.get("flags", "").split()
    return {
        "cpu": first.get("model name", platform.machine()),
        "vectors": [name for flag, name in VECTORS.items() if flag in flags],
        "cores": os.cpu_count(),
    }
