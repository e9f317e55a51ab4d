"""The memory of the process."""

import contextlib
import ctypes
import os
import sys

M_ARENA_MAX = -8  # of mallopt, in glibc


def one_arena_a_core() -> None:
    """Has glibc keep one arena a core instead of eight, each of which would come to hold an epoch's photographs.

    To be called before TensorFlow is imported; without effect on another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_ARENA_MAX, os.cpu_count() or 1)


@contextlib.contextmanager
def traces_freed():
    """Frees the graphs that TensorFlow traces within it, once nothing uses them.

    TensorFlow registers each gradient of `tf.custom_gradient` that it traces for good, and with it the whole graph
    around: those of a run of ResNet-20, whose dropout and whose optimizer have such gradients, hold 17 MiB.
    """
    if "tensorflow" not in sys.modules:
        yield
        return
    from tensorflow.python.framework import ops  # TensorFlow has no public way

    registered = ops.gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            del registered[name]
