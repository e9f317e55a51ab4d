"""Importing Keras without the noise of its backend."""

import os
import sys
import tempfile


def import_keras():
    """Imports Keras, and hides what TensorFlow writes to stderr before its log level counts.

    Raises:
        ImportError: Keras or its backend cannot be imported; what was hidden is written to stderr then.
    """
    # Not 2: the graph optimizer reports each unit that it leaves as it is as an error; real ones raise exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
