"""Run directories of the tests of reports."""

from training import cli, records

UNITS = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
EPOCHS = 12


def write_run(
    out, accuracies, options="", status="finished", seconds=2.0, name="digits", images_sha256="0", genuine=True
):
    """A run directory as training writes it, with these test accuracies."""
    (run,), _ = cli.load(["--config", f"configs/{name}.yaml", "--out", str(out), *options.split()])
    run.checkpoints.mkdir(parents=True)
    records.start(run, 0, images_sha256, genuine=genuine)
    rows = [
        {
            "epoch": epoch,
            "learning_rate": 0.001,
            "loss": 1,
            "accuracy": accuracy / 2,
            "val_loss": 1,
            "val_accuracy": accuracy,
        }
        | {"seconds": seconds, "images_per_second": 100}
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    records.write_history(
        run.directory,
        records.history_header(run.config) + "".join(records.history_row(run.config, row) for row in rows),
    )
    if status != "unfinished":
        facts = {"trainable_parameters": 1234, "evaluated_images": 360}
        where = {"diverged_at": {"epoch": 4, "step": 17}} if status == "diverged" else {}
        records.write_result(run.directory, status, **facts, **where)
    return run.directory


def named(unit, seed):
    """The directory of one of `runs`."""
    return f"{unit}-epochs-{EPOCHS}-drops-8-seed{seed}"


def rising(last, dip=0.0):
    """Twelve accuracies: 0.4, 0.6, then `last` with a dip in epoch 4."""
    return [0.4, 0.6, last, last - dip, *[last] * (EPOCHS - 4)]
