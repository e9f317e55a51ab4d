"""The allocator of the process."""

import ctypes
import os

M_ARENA_MAX = -8  # of mallopt, in glibc


def one_arena_a_core() -> None:
    """Has glibc keep one arena a core instead of eight, each of which would come to hold an epoch's photographs.

    To be called before TensorFlow is imported; without effect on another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_ARENA_MAX, os.cpu_count() or 1)
