"""Many runs, one after another."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Callable

from training import checkpoint, records
from training.config import Run
from training.data import sources
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.devices import memory, strategy
from training.errors import UserError, require
from training.interrupt import Interruption
from training.lock import Lock
from training.run import train

EXIT_CODES = {"finished": 0, "diverged": 3, "interrupted": 130}
ENDED = ("finished", "diverged")


def run_all(runs: list[Run], show: Callable[[list[pathlib.Path]], None]) -> int:
    """Trains what has no end yet, then shows all the runs.

    Args:
        runs: the runs, in their order.
        show: is told their directories, also of those that did not finish, where this process is the chief.

    Returns:
        The exit code: 0 all finished, 3 one diverged, 130 interrupted.

    Raises:
        UserError: before anything is trained, whatever a later run would stumble over; or a record cannot be written.
    """
    for run in runs:
        records.check(run)
        if run.config.train.tensorboard and not importlib.util.find_spec("tensorflow"):
            raise UserError("train.tensorboard: expected TensorFlow, which writes these logs, found it not installed")
    devices = {run.directory: strategy.start(strategy.choose(run.config.train)) for run in runs}
    strategy.warn_of_unseen_gpus()  # not before: to look at devices ties TensorFlow to them
    chief = all(each.chief for each in devices.values())
    image_sets = _load_image_sets(runs, devices)
    with contextlib.ExitStack() as locks, Interruption() as interruption:
        for run in runs:
            if chief and records.check(run) not in ENDED:
                locks.enter_context(Lock(run.directory))
        statuses = {run.directory: records.check(run) for run in runs}  # again: now no other process can end one
        states = {run.directory: _state(run) for run in runs if statuses[run.directory] not in ENDED}
        for run in runs:
            if states.get(run.directory):
                records.check_origin(run, image_sets[_image_key(run)].sha256, devices[run.directory].replicas)
        for each in devices.values():
            each.wait()  # all workers have read where each run stands
        for number, run in enumerate(runs, 1):
            print(f"\n[{number}/{len(runs)}] {run.directory}", flush=True)
            status = statuses[run.directory]
            if status in ENDED:
                print(f"{status} already")
                continue
            images, state = image_sets[_image_key(run)], states.pop(run.directory)
            with memory.traces_freed():
                result = train(run, images, state, interruption, devices[run.directory])
            statuses[run.directory] = result["status"]
            if result["status"] == "diverged":
                print("the loss is not finite at epoch {epoch}, step {step}".format(**result["diverged_at"]))
            if interruption.requested:
                print("interrupted; the same command goes on from the last whole epoch")
                break
    if chief:
        show([run.directory for run in runs])
    return max(EXIT_CODES.get(status, EXIT_CODES["interrupted"]) for status in statuses.values())


def _state(run):
    """The checkpoint that the run goes on from; None where it begins."""
    if run.config.resume == "never":
        return None
    state = checkpoint.newest(run.checkpoints)
    if state is None and (run.directory / "history.csv").exists() and len(records.read_history(run.directory)):
        raise UserError(
            f"{run.checkpoints}: expected the checkpoint of what {run.directory / 'history.csv'} holds, found none; "
            "`--resume never` starts this run over"
        )
    return state


def _image_key(run):
    data = run.config.data
    apart = {"augment", "shift", "flip", "area", "aspect"}  # what is done with the images
    return tuple(value for key, value in vars(data).items() if key not in apart)


def _load_image_sets(runs, devices):
    image_sets: dict[tuple, ImageSet | PhotoSet] = {}
    for run in runs:
        key = _image_key(run)
        if key not in image_sets:
            image_sets[key] = sources.load(run.config.data)
        images, network = image_sets[key], run.config.model.network
        expected = f"{' or '.join(images.networks)} for {run.config.data.name}, which is {images.kind}"
        require("model.network", network, network in images.networks, expected)
        strategy.check(run.config, images.train_count, devices[run.directory])
    return image_sets
