"""Stands for a worker in the tests of launches: it does what `fates.json` of the grid's folder says for its run.

A fate is a list, one word for each process of the run: the exit code that it ends with, "wait" until it is told, or
another one of those below.
Each process adds a line to `told.jsonl` there: its run, process, environment, threads and, at its end, how it ended.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time

from training.launch.worker import TAKEN

arguments = json.loads(sys.argv[1])
directory = pathlib.Path(arguments["directory"])
tries = directory / "tries"
number = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (number + 1))
fates = json.loads((directory.parent / "fates.json").read_text()).get(directory.name, [0])
fate = fates[min(number, len(fates) - 1)]


def tell(**facts):
    facts |= {"run": directory.name, "pid": os.getpid(), "at": time.time()}
    with (directory.parent / "told.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\n")


def end(code):
    tell(ended=code)
    if code in (0, 3):
        (directory / "ended").write_text({0: "finished", 3: "diverged"}[code])
    print(f"error: it ends with {code}" if code == 2 else f"it ends with {code}", flush=True)
    os._exit(code)


def end_with_parent():
    while os.read(0, 1):
        pass
    end(130)


signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: end(130))
threading.Thread(target=end_with_parent, daemon=True).start()
tell(begun=number, gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), threads=arguments["threads"])
if fate == "bad gpu":
    if os.environ["CUDA_VISIBLE_DEVICES"] == "7":
        end(1)
    time.sleep(2)  # while the others crash
    fate = 0
if fate == "elsewhere":
    (directory / "ended").write_text("finished")
    fate = TAKEN
if fate == "begins":
    (directory / "history.csv").touch()
    time.sleep(2)  # while others fail
    fate = 0
if fate == "wait":
    time.sleep(100)
time.sleep(0.05)
if fate == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
end(fate)
