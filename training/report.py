"""Tables and curves, from run directories alone."""

import itertools
import pathlib
import sys
from typing import Any

import pandas
import rich.box
import rich.console
import rich.table

from training import records
from training.config import Run, label

DASHES, MARKERS = ("-", "--", ":"), ("o", "s", "^", "D", "v")  # 15 different pairs


def rows(runs: list[Run]) -> pandas.DataFrame:
    """What result.json says of each run; runs that have none are left out."""
    results = [(run, records.read_result(run.directory)) for run in runs]
    return pandas.DataFrame([{"run": run.directory.name, **result} for run, result in results if result])


def table(runs: list[Run]) -> rich.table.Table:
    """One row a run: parameters, last-epoch accuracy, the best one and the mean of the last ten beside it, seconds."""
    caption = "The result is the last epoch's."
    out = rich.table.Table(title="Test accuracy", box=rich.box.SIMPLE, caption=caption, collapse_padding=True)
    for name in ("run", "parameters", "epochs", "last", "best", "last ten", "seconds"):
        out.add_column(name, justify="left" if name == "run" else "right", no_wrap=name != "run", overflow="fold")
    for _, row in rows(runs).iterrows():
        accuracies = [row["last_accuracy"], row["best_accuracy"], row["mean_last_ten_accuracy"]]
        out.add_row(
            row["run"] if row["status"] == "finished" else f"{row['run']} ({row['status']})",
            f"{row['trainable_parameters']:,}",
            str(row["epochs"]),
            *("-" if pandas.isna(value) else f"{value:.4f}" for value in accuracies),
            f"{row['total_seconds']:.0f}",
        )
    return out


def figure(runs: list[Run], path: pathlib.Path) -> None:
    """Draws test accuracy over epochs, one line a unit, a panel for each of the grid's other values.

    Lines differ in dash and marker too. Runs that differ in seed alone are averaged over the epochs that all have.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: dict[str, dict[str, list[pandas.Series]]] = {}
    for run in runs:
        history = records.read_history(run.directory).set_index("epoch")["val_accuracy"]
        if len(history):
            panel = label({key: value for key, value in run.values.items() if key not in ("seed", "model.unit")})
            panels.setdefault(panel, {}).setdefault(run.config.model.unit, []).append(history)
    if not panels:
        return
    columns = min(len(panels), 2)
    height = -(-len(panels) // columns)
    drawing, axes = pyplot.subplots(
        height, columns, figsize=(7 * columns, 4.2 * height), squeeze=False, layout="constrained"
    )
    axis: Any
    for axis, (panel, lines) in itertools.zip_longest(axes.flat, panels.items(), fillvalue=("", {})):
        _draw(axis, panel, lines)
    drawing.savefig(path, dpi=120)
    pyplot.close(drawing)


def _draw(axis, panel, lines):
    if not lines:
        axis.axis("off")
        return
    styles = zip(itertools.cycle(DASHES), itertools.cycle(MARKERS), strict=False)
    for (dash, marker), (unit, histories) in zip(styles, lines.items(), strict=False):
        mean = pandas.concat(histories, axis=1, join="inner").mean(axis=1)
        name = unit if len(histories) == 1 else f"{unit} (mean of {len(histories)} seeds)"
        every = max(1, len(mean) // 10)
        axis.plot(mean.index, mean, linestyle=dash, marker=marker, markevery=every, markersize=5, label=name)
    axis.set(xlabel="epoch", ylabel="test accuracy", title=panel or "Test accuracy at the end of each epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize="small")


def show(runs: list[Run]) -> None:
    """Prints the table and draws the figure beside the run directories."""
    done = [run for run in runs if records.read_result(run.directory)]
    if not done:
        return
    rich.console.Console(width=None if sys.stdout.isatty() else 120).print(table(done))
    path = done[0].directory.parent / "accuracy.png"
    figure(done, path)
    print(f"curves: {path}")
