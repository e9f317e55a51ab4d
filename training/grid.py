"""Many runs, one after another."""

from training import records, report
from training.config import Run
from training.data import ImageSet, load
from training.errors import UserError
from training.run import train

EXIT_CODES = {"finished": 0, "diverged": 3, "interrupted": 130}


def run_all(runs: list[Run]) -> int:
    """Trains what is not finished, then prints a table and draws the curves of all the runs.

    Returns:
        The exit code: 0 all finished, 3 one diverged, 130 interrupted.

    Raises:
        UserError: before anything is trained, whatever a later run would stumble over.
    """
    statuses = {run.directory: records.check(run) for run in runs}
    image_sets = _load_image_sets(runs)

    for number, run in enumerate(runs, 1):
        print(f"\n[{number}/{len(runs)}] {run.directory}", flush=True)
        if statuses[run.directory] == "finished":
            print("finished already")
            continue
        statuses[run.directory] = train(run, image_sets[_image_key(run)])["status"]
        if statuses[run.directory] == "interrupted":
            print("interrupted; the same command goes on from the last whole epoch")
            break
    report.show(runs)
    return max(EXIT_CODES[status] for status in statuses.values() if status in EXIT_CODES)


def _image_key(run):
    data = run.config.data
    return data.name, data.data_dir, data.train_examples


def _load_image_sets(runs) -> dict[tuple, ImageSet]:
    image_sets = {}
    for run in runs:
        key = _image_key(run)
        if key not in image_sets:
            image_sets[key] = load(run.config.data)
        batch, count = run.config.train.global_batch_size, len(image_sets[key].train_labels)
        if batch > count:
            raise UserError(f"train.global_batch_size: expected at most the {count} training images, found {batch}")
    return image_sets
