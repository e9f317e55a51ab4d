"""The runs of a launch: where each stands, how far it is, and how long it will take."""

import dataclasses
import re
import signal
import time

from training import grid, records
from training.config import Run, flatten, network
from training.errors import UserError
from training.launch.worker import TAKEN

LOG = "log.txt"
RESTARTS = 2
GRACE = 20  # seconds that runs may take to end
STOPPED = (130, -signal.SIGINT, -signal.SIGTERM)  # interrupted; that before it began


@dataclasses.dataclass(frozen=True)
class Progress:
    """What history.csv says: epochs, accuracy and images a second of the last; median seconds of the last five."""

    epochs: int
    accuracy: float
    images_per_second: float
    seconds: float
    written: float  # when, as time.time()


@dataclasses.dataclass(eq=False)
class Job:
    """A run of a launch.

    Attributes:
        run: the run.
        restarts: new processes, at most, for those that die.
        state: waiting; running; finished, diverged or failed; held, by another process; stopped, before its end.
        place: what it runs on, or who holds it.
        crashes: how often its process died.
        why: it failed, on one line.
        trained: to its end, by a process of this launch.
        overhead: seconds of that process beside its epochs, where it is finished.
        started: when its last process was, as time.monotonic(); None: this launch has started none.
    """

    run: Run
    restarts: int = RESTARTS
    state: str = "waiting"
    place: str = ""
    crashes: int = 0
    why: str = ""
    trained: bool = False
    overhead: float | None = None
    started: float | None = None
    _epochs_before: int = 0
    _written_before: float | None = None
    _log_start: int = 0
    _progress: Progress | None = None

    @property
    def name(self) -> str:
        return self.run.directory.name

    def look(self) -> None:
        """Sees what stands in the run directory, and whether another process has it."""
        try:
            found = grid.standing(self.run)
        except UserError as error:
            self.state, self.why = "failed", str(error)
            return
        self.state = found if found in grid.ENDED else "waiting" if found == "left" else "held"
        self.place = self.holder() or "another process" if self.state == "held" else ""

    def holder(self) -> str:
        """The process that has it, on this machine or another one."""
        try:
            return (self.run.checkpoints / "lock.holder").read_text(encoding="utf-8")
        except OSError:
            return ""

    def begin(self, place: str) -> None:
        """A process is about to be started for it."""
        self.state, self.place = "running", place
        self.started, before = time.monotonic(), self.progress()
        self._written_before = self._written()
        self._epochs_before = before.epochs if before else 0
        log = self.run.directory / LOG
        try:
            self.run.directory.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                self._log_start = file.tell()
        except OSError as error:
            self.state, self.why = "failed", f"{log}: expected a file that can be written, found {error.strerror}"

    def settle(self, code: int) -> None:
        """That process has ended with this code: it is over, or waits for another one."""
        self.look()
        now = self.progress()
        self.trained = self.state in grid.ENDED and code != TAKEN
        if self.trained and self.state == "finished" and now and self.started:
            epochs = now.seconds * (now.epochs - self._epochs_before)
            self.overhead = max(0.0, time.monotonic() - self.started - epochs)
        if self.state != "waiting" or code == TAKEN:
            return
        if code in STOPPED:
            self.state = "stopped"
        elif code == 2 or self.crashes == self.restarts:
            self.state, self.why = "failed", f"exit code {code} {self._last_words()}".rstrip()
        else:
            self.crashes += 1

    def _last_words(self):
        try:
            with (self.run.directory / LOG).open("rb") as log:
                log.seek(self._log_start)
                return last_words(log.read().decode(errors="replace"))
        except OSError:  # somebody took the directory away
            return ""

    def begun(self) -> bool:
        """Whether its last process has come as far as its records."""
        return self._written() != self._written_before

    def _written(self):
        """When history.csv was, which is at a beginning, too; None: there is none."""
        try:
            return (self.run.directory / "history.csv").stat().st_mtime
        except OSError:
            return None

    def progress(self) -> Progress | None:
        """How far it is; None before its first epoch."""
        written = self._written()
        if written is None:
            return None
        try:
            if self._progress is None or self._progress.written != written:
                history = records.read_history(self.run.directory)
                last = history.iloc[-1]
                seconds = history["seconds"].tail(5).median()
                self._progress = Progress(
                    len(history), last["val_accuracy"], last["images_per_second"], seconds, written
                )
        except (UserError, OSError, IndexError):  # without a row, or not whole
            return None
        return self._progress

    def seconds_left(self, per_epoch: float) -> float:
        """Until it is finished, at so many seconds an epoch."""
        done = self.progress()
        left = per_epoch * (self.run.config.train.epochs - (done.epochs if done else 0))
        return max(0.0, left - (time.time() - done.written if done and self.state == "running" else 0))


def last_words(text: str) -> str:
    """Of what a process wrote, the last line that tells of an error; else that names an exception; else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    exceptions = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (errors or exceptions or lines or [""])[-1]


def seconds_per_epoch(jobs: list[Job]) -> dict[Job, float]:
    """Of each job: its own; else the mean of those with its network and data, or of all. Empty: none is known."""
    own = {job: progress.seconds for job in jobs if (progress := job.progress())}
    alike: dict[tuple, list[float]] = {}
    for job, seconds in own.items():
        alike.setdefault(_kind(job), []).append(seconds)
    every = [*own.values()]
    found = {job: alike.get(_kind(job), every) for job in jobs if every}
    return {job: own.get(job, sum(seconds) / len(seconds)) for job, seconds in found.items()}


def _kind(job):
    config = job.run.config
    return network(flatten(config.to_dict())), config.data.name, config.data.train_examples


def seconds_to_go(jobs: list[Job], side_by_side: int) -> float | None:
    """Until all are finished, about; None: nothing is known yet."""
    per_epoch = seconds_per_epoch(jobs)
    overheads = [job.overhead for job in jobs if job.overhead is not None]
    overhead = sum(overheads) / len(overheads) if overheads else 0.0
    left = [job.seconds_left(per_epoch[job]) for job in per_epoch if job.state == "running"]
    left += [job.seconds_left(per_epoch[job]) + overhead for job in per_epoch if job.state == "waiting"]
    return max(sum(left) / side_by_side, *left, 0.0) if per_epoch else None
