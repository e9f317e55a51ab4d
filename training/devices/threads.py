"""How many threads of the CPU a process computes with: another number may add in another order."""

import contextlib
import os

from training.devices import internals
from training.errors import require


def use(threads: int) -> None:
    """Has this process compute with so many; to be called before it computes anything.

    Raises:
        UserError: it computes with another number already.
    """
    import keras

    backend = keras.backend.backend()
    if number() == threads:
        return
    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    elif backend == "jax" and not internals.jax_has_begun():
        os.environ["NPROC"] = str(threads)
    elif backend == "tensorflow":
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # too late
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    expected = f"{number()}, with which this process computes already"
    require("train.threads", threads, number() == threads, expected)


def number() -> int:
    """So many threads does this process compute with, if it does so on the CPU."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.get_num_threads()
    if keras.backend.backend() == "jax":
        return int(os.environ.get("NPROC", 0)) or cores()
    import tensorflow as tf

    own = tf.config.threading.get_intra_op_parallelism_threads()
    return own or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or cores()


def cores() -> int:
    """The CPU's cores that this process may have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
