"""Trains on the digits as on other machines: reads one a line, as JSON, and answers with what came of it.

A machine is {"keras_json": text, "environment": {name: value}, "without": ["module", "module.function"]}. What Keras
reads, it reads when it is imported, so each machine is a process of its own: a fork of this one, which has imported
nearly all but Keras. See test_machines.py.
"""

import json
import os
import pathlib
import signal  # noqa: F401
import sys
import tempfile

import jsonargparse  # noqa: F401
import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import rich.table  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.model_selection  # noqa: F401
import tensorflow  # noqa: F401

for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
    del sys.modules[name]  # TensorFlow has imported it, with the settings of this machine

OPTIONS = (
    "--data.name digits --data.train_examples 128 --model.network plain --model.size small --train.epochs 2 "
    "--train.drops [1]"
)


def train(machine: dict, folder: pathlib.Path) -> dict:
    """The exit code, the history without its seconds, and whether keras.json is as it was."""
    path = folder / ".keras" / "keras.json"
    path.parent.mkdir()
    content = machine["keras_json"].encode()
    path.write_bytes(content)
    os.environ.pop("KERAS_HOME", None)
    os.environ |= {"HOME": str(folder), **machine["environment"]}
    for name in machine["without"]:
        module, _, function = name.partition(".")
        if function:
            delattr(sys.modules[module], function)
        else:
            sys.modules[module] = None  # importing it raises an ImportError
    import train_cifar

    code = train_cifar.main([*OPTIONS.split(), "--out", str(folder / "runs")])
    lines = [line for found in folder.glob("runs/*/*/history.csv") for line in found.read_text().splitlines()]
    history = [line.split(",")[:6] for line in lines]
    return {"code": code, "history": history, "kept": path.read_bytes() == content}


def main() -> None:
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            child = os.fork()
            if not child:
                printed = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT)
                os.dup2(printed, 1)
                os.dup2(printed, 2)
                (folder / "answer").write_text(json.dumps(train(json.loads(line), folder)))
                os._exit(0)
            os.waitpid(child, 0)
            answer = json.loads((folder / "answer").read_text()) if (folder / "answer").exists() else {"code": None}
            print(json.dumps(answer | {"printed": (folder / "printed").read_text()}), flush=True)


if __name__ == "__main__":
    main()
