"""Diagnostics of a finished run: what reaches its weight layers before and after training.

python -m reporting.diagnose RUN_DIR [--data_dir DIR] [--images 10000]
"""

import argparse
import io
import pathlib
import sys

from training.devices.backend import import_keras
from training.errors import UserError, exit_codes, require

REMEDIES = {"backend": "KERAS_BACKEND={} takes it", "device": "CUDA_VISIBLE_DEVICES chooses it, and empty the cpu"}


def write(directory: pathlib.Path, data_dir: str | None, count: int) -> None:
    """Writes diagnostics.csv and diagnostics.png into a run directory.

    The images are the first `count` test images. The statistics that accuracies are compared on are recomputed from as
    many training images of the run's first batches, as augmented there. Beside each variance shift that is measured
    stands the one that `iclayer.shift.predicted_shift` gives, `predicted_variance_shift`.

    Raises:
        UserError: the run is not a finished one of train_cifar.py, its initial network or its data are not to be had,
            or the files cannot be written.
    """
    import numpy as np
    import pandas

    from iclayer.diagnostics import diagnose, figure
    from iclayer.shift import predicted_shift
    from reporting import analysis
    from training import cli, export, files
    from training.data import sources
    from training.data.photographs import PhotoSet
    from training.run import build

    record = analysis.read_finished(directory)
    _check_initial(record)
    trained = export.network(export.load(directory / "checkpoints"))
    given = ["--data.data_dir", data_dir] if data_dir else []
    ((run,), _) = cli.load(["--config", str(directory / "config.yaml"), *given])
    images = sources.load(run.config.data)
    if isinstance(images, PhotoSet):
        raise UserError(f"{directory}: expected a run of train_cifar.py, found one on {images.name}")
    if images.sha256 != record.environment["images_sha256"]:
        raise UserError(f"data.data_dir: expected the images of {directory}, found others")
    batches = images.batches(run.config.train.global_batch_size, run.config.seed, run.config.data)
    steps = min(-(-count // batches.batch_size), batches.steps_per_epoch)
    training = np.concatenate([batches(step)[0] for step in range(steps)])
    tests, labels = images.normalize(images.test_images[:count]), images.test_labels[:count]
    initial = build(run.config, images)
    frames = []
    for name, model in (("initial", initial), ("trained", trained)):
        frame = diagnose(model, tests, labels, loss=initial.loss, statistics=training).assign(model=name)
        predicted = frame["layer"].map(predicted_shift(model, tests))
        frame.insert(frame.columns.get_loc("variance_shift") + 1, "predicted_variance_shift", predicted)
        frames.append(frame)
    frame = pandas.concat(frames)
    drawing = io.BytesIO()
    figure(frame).savefig(drawing, format="png", dpi=120)
    files.replace(directory / "diagnostics.csv", frame.to_csv(index=False, float_format="%.6g"))
    files.replace(directory / "diagnostics.png", drawing.getvalue())


def _check_initial(record):
    """Raises a UserError where other initial weights would be drawn than those that the run began with."""
    from training.devices.environment import environment

    first_session = [*record.environment.get("earlier_sessions", []), record.environment][0]
    found = _drawn_by(environment())
    for key, before in _drawn_by(first_session).items():
        if before != found.get(key):
            raise UserError(
                f"{record.directory}: expected the {key} that drew its initial weights, {before}, found "
                f"{found.get(key)}; {REMEDIES[key].format(before)}"
            )


def _drawn_by(environment):
    """What initial weights depend on beside the config: the backend, and PyTorch's have a generator for each device."""
    backend = environment["backend"]
    return {"backend": backend} | ({"device": environment["devices"][0]} if backend == "torch" else {})


@exit_codes
def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reporting.diagnose", description="What reaches the weight layers of a finished run."
    )
    parser.add_argument("run", type=pathlib.Path, help="run directory, with its checkpoints")
    parser.add_argument("--data_dir", help="folder of the prepared data set; default: that of the run")
    parser.add_argument("--images", type=int, default=10_000, help="how many test images; default: 10000")
    options = parser.parse_args(argv)
    import_keras()
    require("--images", options.images, options.images >= 2, "an int above 1")
    write(options.run, options.data_dir, options.images)
    print(f"{options.run / 'diagnostics.csv'} and diagnostics.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
