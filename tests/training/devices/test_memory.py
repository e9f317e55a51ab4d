"""The memory of the process."""

import os
import platform
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, sys, threading
from training.devices import memory

if sys.argv[1] == "one a core":
    memory.one_arena_a_core()
count = int(sys.argv[2])
here = threading.Barrier(count)

def allocate():
    block = ctypes.create_string_buffer(10_000)
    here.wait()

threads = [threading.Thread(target=allocate) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that has arenas")
def test_glibc_keeps_one_arena_a_core():
    cores, found = os.cpu_count(), {}
    for kind in ("as it is", "one a core"):
        arguments = [sys.executable, "-c", ARENAS, kind, str(cores + 2)]
        found[kind] = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.count("<heap nr=")
    assert found["one a core"] <= cores < found["as it is"]
