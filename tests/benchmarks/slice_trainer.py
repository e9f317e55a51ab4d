"""Stands for a worker in test_slices.py: an epoch takes it 10 ms, and it goes on from its newest checkpoint.

The environment has EPOCHS, and WHEN_TOLD: what a SIGTERM makes of it, "interrupted", "failed" or nothing. With FAILS,
that run fails once there are others; with DIVERGES all end diverged.
"""

import json
import os
import pathlib
import signal
import sys
import time

arguments = json.loads(sys.argv[1])
directory = pathlib.Path(arguments["directory"])
told = []


def write(name, text):
    (directory / "new").write_text(text)
    (directory / "new").rename(directory / name)


def end(status, code):
    (directory / "running").unlink()
    write("result.json", json.dumps({"status": status}))
    sys.exit(code)


signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: told.append(os.environ["WHEN_TOLD"]))
(directory / "checkpoints").mkdir(exist_ok=True)
(directory / "running").touch()
epoch = max((int(path.stem[6:]) for path in directory.glob("checkpoints/*.state")), default=0)
facts = {"pid": os.getpid(), "begun": epoch, "options": arguments["argv"], "flags": os.environ["XLA_FLAGS"]}
facts["beside"] = len(list(directory.parent.glob("*/running")))
(directory / "result.json").unlink(missing_ok=True)
write("config.yaml", directory.name)
write("env.json", json.dumps(facts))
while True:
    write("history.csv", "epoch\n" + "".join(f"{each}\n" for each in range(1, epoch + 1)))
    others = len(list(directory.parent.glob("*/history.csv"))) - 1
    if "failed" in told or (others and os.environ.get("FAILS") == directory.name):
        sys.exit("no space is left")
    if "interrupted" in told:
        end("interrupted", 130)
    if epoch == int(os.environ["EPOCHS"]):
        end(*("diverged", 3) if os.environ.get("DIVERGES") else ("finished", 0))
    time.sleep(0.01)
    epoch += 1
    write(f"checkpoints/epoch-{epoch:06d}.state", f"state {epoch}")
