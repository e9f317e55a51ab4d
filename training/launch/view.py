"""What a launch shows while it runs: one table in place, or lines where there is no terminal."""

import collections
import time

import rich.box
import rich.console
import rich.live
import rich.table

from training import grid
from training.launch.jobs import Job, seconds_per_epoch, seconds_to_go

# In this order runs have rows, where not all find room.
STYLES = {"failed": "red", "running": "bold", "diverged": "red", "stopped": "", "held": "", "waiting": "dim"}
STYLES["finished"] = "green"
STATES = ("finished", "running", "waiting", "stopped", "held", "diverged", "failed")
COLUMNS = {"epoch": 7, "accuracy": 8, "images/s": 8, "left": 8}  # and their widths
AROUND = 5  # lines beside the rows, the summary and the reasons: header, how many more
REASONS = 3  # of failures, at most
EVERY = 60  # seconds, where there is no terminal


class View:
    """Within it, `update` shows how far the jobs are."""

    def __init__(self, jobs: list[Job], console: rich.console.Console | None = None):
        self._jobs = jobs
        self._console = console or rich.console.Console(markup=False, highlight=False, emoji=False)
        self._live = rich.live.Live(console=self._console, auto_refresh=False)
        self._begun = self._shown = time.monotonic()
        self._states = dict.fromkeys(jobs, "waiting")

    def __enter__(self):
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_):
        self._live.stop()

    def update(self, side_by_side: int, last: bool = False) -> None:
        """Shows how far they are.

        Args:
            side_by_side: how many of them run at a time.
            last: whether there will be no other update.
        """
        since = time.monotonic() - self._shown
        if self._console.is_terminal:
            if since > 0.5 or last:
                self._shown = time.monotonic()
                self._live.update(self._picture(side_by_side), refresh=True)
            return
        changed = [job for job in self._jobs if job.state != self._states[job]]
        for job in changed:
            self._states[job] = job.state
            self._say(f"{job.name}: {_says(job)}")
        if since > EVERY or last:
            self._shown = time.monotonic()
            self._say(self._summary(side_by_side))

    def _say(self, text):
        self._console.print(f"[{_duration(time.monotonic() - self._begun)}] {text}", soft_wrap=True)

    def _summary(self, side_by_side):
        counts = collections.Counter(job.state for job in self._jobs)
        states = ", ".join(f"{counts[state]} {state}" for state in STATES if state in counts)
        trained = sum(job.trained for job in self._jobs)
        here = f"; {trained} trained here" if trained < sum(counts[state] for state in grid.ENDED) else ""
        left = seconds_to_go(self._jobs, side_by_side)
        return f"{len(self._jobs)} runs: {states}{here}" + (f"; {_duration(left)} left" if left else "")

    def _picture(self, side_by_side):
        """The summary, rows of as many jobs as find room, in their order, and why jobs failed."""
        width, height = self._console.size
        summary = self._summary(side_by_side)
        failed = [job for job in self._jobs if job.why]
        reasons = [f"{job.name}: {job.why}" for job in failed[:REASONS]]
        reasons += [f"and {len(failed) - REASONS} more failed"] if len(failed) > REASONS else []
        room = height - AROUND - sum(len(self._console.render_lines(text)) for text in (summary, *reasons))
        chosen = sorted(self._jobs, key=lambda job: [*STYLES].index(job.state))[: max(1, room)]
        names = width - sum(COLUMNS.values()) - 2 * len(COLUMNS) - 1  # each column has a space on either side
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, expand=True, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("run", no_wrap=True, ratio=1)
        for column, size in COLUMNS.items():
            table.add_column(column, justify="right", no_wrap=True, width=size)
        per_epoch = seconds_per_epoch(self._jobs)
        for job in self._jobs:
            if job in chosen:
                name = job.name[-names:]  # unit and seed stand at its end
                table.add_row(name, *_cells(job, per_epoch.get(job)), style=STYLES[job.state])
        more = [f"and {len(self._jobs) - len(chosen)} more"] if len(chosen) < len(self._jobs) else []
        return rich.console.Group(summary, table, *more, *reasons)


def _says(job):
    """What became of a job, in words."""
    progress = job.progress()
    if job.state == "running":
        begun = f", after {progress.epochs} epochs" if progress else ""
        return f"started on {job.place}{begun}"
    if job.state == "waiting":
        return "waits" + (f", for its process died ({job.crashes})" if job.crashes else "")
    found = f", accuracy {progress.accuracy:.4f} after {progress.epochs} epochs" if progress else ""
    return job.state + (f" by {job.place}" if job.state == "held" else found) + (f": {job.why}" if job.why else "")


def _cells(job, per_epoch):
    progress = job.progress()
    epochs = f"{progress.epochs if progress else 0}/{job.run.config.train.epochs}"
    numbers = (f"{progress.accuracy:.4f}", f"{progress.images_per_second:.0f}") if progress else ("", "")
    left = _duration(job.seconds_left(per_epoch)) if per_epoch and job.state == "running" else job.state
    return epochs, *numbers, left


def _duration(seconds):
    """Such as 5:43, 1:05:43, or 2 d 1 h."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
