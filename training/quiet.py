"""Importing Keras without the noise of its backend."""

import os
import sys

from training.errors import UserError


def import_keras():
    """Imports Keras, and hides what TensorFlow writes to stderr before its log level counts.

    Raises:
        UserError: the backend that KERAS_BACKEND names cannot be imported.
    """
    # Not 2: the graph optimizer reports each unit that it leaves as it is as an error; real ones raise exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as hidden:  # noqa: PTH123
        os.dup2(hidden.fileno(), 2)
        try:
            import keras  # noqa: F401
        except (ImportError, ValueError) as error:
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise UserError(
                f"KERAS_BACKEND: expected an installed one of tensorflow, jax and torch, found {backend}: {error}"
            ) from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
