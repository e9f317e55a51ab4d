"""As a run began, so it goes on: with the same images, on the same backend, with the same kernels."""

from training import records
from training.config import Run
from training.devices import threads
from training.devices.environment import kernels
from training.errors import UserError

# Of env.json, for all of a run, with what older ones that lack it had: what makes results those of another setting, and
# what beside it moves their last digits. Older ones do not tell their threads, which count on the CPU alone.
ORIGIN = {"images_sha256": None, "backend": None, "replicas": 1}
ROUNDING = {"onednn": True, "threads": None}
REMEDIES = {"backend": "KERAS_BACKEND=", "onednn": "TF_ENABLE_ONEDNN_OPTS=", "threads": "--train.threads "}


def check(run: Run, images_sha256: str, replicas: int = 1) -> None:
    """Sees to it that a run that is to go on does so as it began.

    Raises:
        UserError: it began with other images, on another backend or number of replicas, or with other kernels or
            threads.
    """
    begun = records.read_environment(run.directory)
    now = {"images_sha256": images_sha256, "replicas": replicas, **kernels()}
    for key, older in (ORIGIN | ROUNDING).items():
        before, found = begun.get(key, older), now.get(key, older)
        unknown = key == "threads" and None in (before, found)
        if before != found and not unknown:
            remedy = f"{REMEDIES[key]}{before} goes on with it, " if key in REMEDIES else ""
            raise UserError(
                f"{run.directory}: expected the {key} that it began with, {before}, found {found}; {remedy}"
                "`--resume never` starts this run over"
            )


def take_threads(runs: list[Run]) -> None:
    """Has this process compute with as many threads as the runs ask for, else as those that go on began with.

    Args:
        runs: of this process, without those that have ended.

    Raises:
        UserError: they ask for several numbers, or this process computes with another already.
    """
    asked = {run.config.train.threads for run in runs}
    if len(asked) > 1:
        raise UserError(
            "train.threads: expected one number for all runs of a process, found "
            f"{', '.join(sorted(map(str, asked)))}; `python -m training.launch` gives each run its own"
        )
    begun = {number for run in runs if (number := begun_threads(run))}
    wanted = asked.pop() if asked else None
    if wanted or len(begun) == 1:
        threads.use(wanted or begun.pop())


def begun_threads(run: Run) -> int | None:
    """The number of threads that a run which is to go on began with, where it says so."""
    if run.config.resume == "never" or not (run.directory / "env.json").exists():
        return None
    return records.read_environment(run.directory).get("threads")
