"""Many runs, one after another, beside other processes that take those that are free as well."""

import contextlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

from training import checkpoint, origin, records
from training.config import Run
from training.data import sources
from training.data.images import ImageSet
from training.data.photographs import PhotoSet
from training.devices import memory, strategy
from training.devices.strategy import ONE_DEVICE
from training.errors import UserError, require
from training.interrupt import Interruption
from training.lock import HeldError, Lock
from training.run import train

EXIT_CODES = {"finished": 0, "diverged": 3, "left": 130}
ENDED = ("finished", "diverged")
Own = Callable[[pathlib.Path], contextlib.AbstractContextManager[Any]]


def run_all(runs: list[Run], show: Callable[[list[pathlib.Path]], None], own: Own = Lock) -> int:
    """Trains each run that has no end yet and that no other process has, then shows all of them.

    Args:
        runs: the runs, in their order.
        show: is told their directories, also of those that did not finish, where this process is the chief.
        own: within it, a run directory is this process' own; it raises HeldError where it is another one's.

    Returns:
        The exit code: 0 all finished, or others have the rest; 3 one diverged, 130 interrupted.

    Raises:
        UserError: before anything is trained, whatever a later run would stumble over; or a record cannot be written.
    """
    statuses = {run.directory: records.check(run) for run in runs}
    unfinished = [run for run in runs if statuses[run.directory] not in ENDED]
    if any(run.config.train.tensorboard for run in runs) and not importlib.util.find_spec("tensorflow"):
        raise UserError("train.tensorboard: expected TensorFlow, which writes these logs, found it not installed")
    origin.take_threads(unfinished)  # not later: to look at devices ties the backend to its threads
    devices = {run.directory: strategy.start(strategy.choose(run.config.train)) for run in runs}
    strategy.warn_of_unseen_gpus()
    team = _team([*devices.values()])
    image_sets = _load_image_sets(runs, devices)
    for run in unfinished:
        if _state(run):
            origin.check(run, image_sets[_image_key(run)].sha256, devices[run.directory].replicas)
    team.agree(0)  # all workers have read where each run stands
    for number, run in enumerate(runs, 1):
        if run not in unfinished:
            print(f"\n[{number}/{len(runs)}] {run.directory}\n{statuses[run.directory]} already", flush=True)
    over = {directory: status for directory, status in statuses.items() if status in ENDED}
    trained = []
    with Interruption() as interruption:
        while not interruption.requested:
            with contextlib.ExitStack() as lock:
                number = team.agree(_take(runs, over, own, lock) if team.chief else 0)
                if not number:
                    break
                run = runs[number - 1]
                print(f"\n[{number}/{len(runs)}] {run.directory}", flush=True)
                state = _state(run)
                team.agree(0)
                with memory.traces_freed():
                    result = train(run, image_sets[_image_key(run)], state, interruption, devices[run.directory])
            trained.append(run)
            if result["status"] in ENDED:
                over[run.directory] = result["status"]
            if result["status"] == "diverged":
                print("the loss is not finite at epoch {epoch}, step {step}".format(**result["diverged_at"]))
    rest = {run.directory: standing(run, own) for run in runs if team.chief and run.directory not in over}
    over |= {directory: status for directory, status in rest.items() if status in ENDED}
    elsewhere = [run for run in unfinished if run.directory in over and run not in trained]
    held = [status for status in rest.values() if status not in (*ENDED, "left")]
    left = [*rest.values()].count("left")
    if interruption.requested and left:
        print("interrupted; the same command goes on from the last whole epoch")
    if elsewhere or held or left:
        print(
            f"{len(trained)} trained here, {len(elsewhere)} by other processes, {left} left, {len(held)} held by others"
            f"{': ' * bool(held)}{', '.join(held)}"
        )
    if team.chief:
        show([run.directory for run in runs])
    return EXIT_CODES["left"] if left else max((EXIT_CODES[status] for status in over.values()), default=0)


def _team(devices):
    """The devices of the process, whose chief chooses the runs."""
    team = next((each for each in devices if each.workers > 1), ONE_DEVICE)
    if any(each.workers != team.workers for each in devices):
        raise UserError("train.strategy: expected multi_worker for each run of a grid or for none, found both")
    return team


def _take(runs, over, own, lock):
    """The number of the first run, from 1, that has no end and that this process now has; 0: there is none."""
    for number, run in enumerate(runs, 1):
        if run.directory in over:
            continue
        with contextlib.suppress(HeldError):
            lock.enter_context(own(run.directory))
            status = records.check(run)
            if status not in ENDED:
                return number
            over[run.directory] = status
            lock.close()
    return 0


def standing(run: Run, own: Own = Lock) -> str:
    """Where a run stands: its end, "left", or else what the lock says of the process that has it.

    Raises:
        UserError: its directory cannot be used.
    """
    status = records.check(run)
    if status not in ENDED and (run.checkpoints / "lock").exists():
        try:
            with own(run.directory):
                status = records.check(run)
        except HeldError as error:
            return str(error)
    return status if status in ENDED else "left"


def _state(run):
    """The checkpoint that the run goes on from; None where it begins."""
    if run.config.resume == "never":
        return None
    begun = (run.directory / "history.csv").exists() and len(records.read_history(run.directory))  # first: see `train`
    state = checkpoint.newest(run.checkpoints)
    if state is None and begun:
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
