"""Keras and its backend, set up alike on every machine, whatever a user's own settings and processor are."""

import gc
import importlib
import os
import platform
import sys

from training.errors import UserError

BACKENDS = ("tensorflow", "jax", "torch")
UNSET = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")  # would cut runs short, or change them
UNUSED = ("IPython", "matplotlib", "sklearn")  # by what is here, of Keras


def import_keras() -> None:
    """Imports Keras on the backend that KERAS_BACKEND names, else on TensorFlow, and hides what that writes to stderr.

    Keras' own file of settings, keras.json, is not read, for a run depends on its config alone. TensorFlow's oneDNN
    kernels are on, unless TF_ENABLE_ONEDNN_OPTS is set: by itself it takes slower ones on x86 processors without
    AVX-512 (VNNI) or AMX. Keras goes without its wrappers for scikit-learn and its galleries of pictures, for to import
    what these use takes a third of the time. Where Keras is imported already, all this comes too late, and is left out.

    Raises:
        UserError: the backend is none of `BACKENDS`, or cannot be imported.
    """
    if "keras" in sys.modules:
        return
    named = os.environ.get("KERAS_BACKEND")
    found = named or "none, which is tensorflow"
    expected = f"KERAS_BACKEND: expected an installed one of {', '.join(BACKENDS)}, found {found}"
    if named and named not in BACKENDS:
        raise UserError(expected)
    for name in UNSET:
        os.environ.pop(name, None)
    # Not 2: the graph optimizer reports each unit that it leaves as it is as an error; real ones raise exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.machine() in ("x86_64", "AMD64") and not os.environ.get("TF_ENABLE_ONEDNN_OPTS"):
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # no keras.json can be there, nor be written
    left_out = dict.fromkeys(name for name in UNUSED if name not in sys.modules)
    sys.modules.update(left_out)  # type: ignore[arg-type]  # where None stands, an import finds nothing
    collecting = gc.isenabled()
    gc.disable()  # what is imported is no garbage, and to look through it takes a sixth of the import
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w") as hidden:  # noqa: PTH123
        os.dup2(hidden.fileno(), 2)
        try:
            importlib.import_module("keras")
            gc.freeze()  # nor is it later
        except Exception as error:  # whatever the backend has to say
            raise UserError(f"{expected}: {error}") from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if collecting:
                gc.enable()
            for name in left_out:
                del sys.modules[name]
            os.environ.pop("KERAS_HOME")
            if home is not None:
                os.environ["KERAS_HOME"] = home


def accelerators() -> list[str]:
    """The names of the GPUs or TPU cores that this process may compute on; to look ties the backend to them."""
    import keras

    if keras.backend.backend() == "torch":  # Keras lists none of its devices
        import torch

        return [f"gpu:{i}" for i in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def onednn() -> bool:
    """Whether TensorFlow computes with its oneDNN kernels, in this process."""
    from tensorflow.python.util import _pywrap_util_port  # TensorFlow has no public way

    return _pywrap_util_port.IsMklEnabled()
