"""Trains the runs of a grid in processes of their own."""

import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Protocol

from training import grid
from training.config import Run
from training.errors import UserError, require
from training.interrupt import Interruption
from training.launch.jobs import GRACE, RESTARTS, Job
from training.launch.view import View

LOOK = 10  # seconds, after which to look again at what others have
EXIT_CODES = {"failed": 2, "stopped": 130, "waiting": 130, "diverged": 3}  # the first that there is, else 0


class Engine(Protocol):
    """What starts the processes."""

    def side_by_side(self) -> int:
        """Runs at a time."""

    def settle(self) -> None:
        """Sees which runs have ended, and how."""

    def start(self) -> bool:
        """Starts what can start; whether anything is under way."""

    def end(self) -> None:
        """Ends what is under way, so that it can go on."""


def run_all(
    runs: list[Run],
    show: Callable[[list[pathlib.Path]], None],
    make_engine: Callable[[list[Job]], Engine],
    seconds: float = math.inf,
    go_on: bool = True,
) -> int:
    """Trains each run that has no end yet in a process of its own, then shows all of them.

    Args:
        runs: the runs, in their order.
        show: is told their directories.
        make_engine: gives what starts these jobs.
        seconds: until what is under way is ended.
        go_on: whether a run is tried again whose process died, and the others go on where it fails; else all end. Where
            two fail in the same words before any has begun, the others would, too, and are left.

    Returns:
        The exit code: 0 all finished, others have the rest, or the time is up; 2 one failed, 3 one diverged, 130
        interrupted.

    Raises:
        UserError: a key is none for a launch, no run can be trained, or no process can be started.
    """
    for run in runs:
        strategy, resume = run.config.train.strategy, run.config.resume
        require("train.strategy", strategy, strategy in ("auto", "none"), "auto or none: a launch has one device a run")
        require("resume", resume, resume == "auto", "auto: a launch goes on with what ended early")
    end = time.monotonic() + seconds - GRACE
    jobs = [Job(run, restarts=RESTARTS if go_on else 0) for run in runs]
    for job in jobs:
        job.look()
    if all(job.state == "failed" for job in jobs):
        raise UserError(jobs[0].why)
    engine = make_engine(jobs)  # first, for Ray has its own way with signals
    with Interruption() as interruption, View(jobs) as view:
        try:
            looked = time.monotonic()
            while not interruption.requested and time.monotonic() < end:
                engine.settle()
                view.update(engine.side_by_side())
                if _all_fail(jobs) if go_on else any(job.state == "failed" for job in jobs):
                    break
                busy = engine.start()
                view.update(engine.side_by_side())
                if time.monotonic() > looked + LOOK or not busy:
                    looked = time.monotonic()
                    for job in jobs:
                        if job.state == "held":
                            job.look()  # by now others may have ended it, or died
                if not busy and not any(job.state == "waiting" for job in jobs):
                    break
                time.sleep(0.2)
        except OSError as error:
            raise UserError(error) from error
        finally:
            engine.end()
            view.update(engine.side_by_side(), last=True)
    for job in jobs:
        if job.state == "failed":
            print(f"{job.run.directory}: {job.why}", file=sys.stderr)
    states, in_time = {job.state for job in jobs}, time.monotonic() < end
    show([run.directory for run in runs])
    codes = [code for state, code in EXIT_CODES.items() if state in states and (in_time or code != 130)]
    return codes[0] if codes else 0


def _all_fail(jobs):
    """Whether several runs of this launch have failed in the same words, and no other way, before any has begun."""
    started = [job for job in jobs if job.started]
    reasons = [job.why for job in started if job.state == "failed"]
    begun = any(job.begun() or job.state in grid.ENDED for job in started)
    return len(reasons) > 1 and len({*reasons}) == 1 and not begun
