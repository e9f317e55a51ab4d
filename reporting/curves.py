"""Curves of runs."""

import io
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import matplotlib
import pandas
from matplotlib import figure

from reporting import analysis
from training import files
from training.records import Record

DASHES, MARKERS = ("-", "--", ":"), ("o", "s", "^", "D", "v")  # 15 different pairs


def accuracy(found: list[Record]) -> figure.Figure:
    """Test accuracy over epochs (Fig. 4)."""
    return over_epochs(found, "test accuracy", lambda history: history["val_accuracy"])


def over_epochs(found: list[Record], label: str, values: Callable[[pandas.DataFrame], pandas.Series]) -> figure.Figure:
    """What `values` takes from a history, over epochs: a panel for each setting, a line for each unit.

    A line is the mean over the seeds of the finished runs, in a band from the lowest to the highest seed, as the axis
    says. Lines differ in dash and marker too. Runs that are not finished are left out.
    """
    runs = analysis.finished(analysis.table(found))
    histories = {record.directory: values(record.history.set_index("epoch")) for record in found}
    panels = list(runs.groupby("setting", sort=False))
    columns = min(len(panels), 2) or 1
    height = -(-len(panels) // columns) or 1
    drawing = figure.Figure(figsize=(7 * columns, 4.2 * height), layout="constrained")
    for place, (name, group) in enumerate(panels, 1):
        axis: Any = drawing.add_subplot(height, columns, place)
        styles = zip(itertools.cycle(DASHES), itertools.cycle(MARKERS), strict=False)
        for (unit, seeds), (dash, marker) in zip(group.groupby("unit", sort=False), styles, strict=False):
            lines = pandas.concat([histories[directory] for directory in seeds["directory"]], axis=1)
            mean, every = lines.mean(axis=1), max(1, len(lines) // 10)
            text = unit if len(seeds) == 1 else f"{unit} ({len(seeds)} seeds)"
            (line,) = axis.plot(mean.index, mean, dash + marker, markevery=every, markersize=5, label=text)
            if len(seeds) > 1:
                axis.fill_between(
                    mean.index, lines.min(axis=1), lines.max(axis=1), color=line.get_color(), alpha=0.15, linewidth=0
                )
        band = "\nline: mean, band: lowest to highest seed" if group["unit"].duplicated().any() else ""
        axis.set(xlabel="epoch", ylabel=label + band)
        axis.set_title(name, parse_math=False)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(loc="best", fontsize="small")
    return drawing


def save(found: list[Record], out: pathlib.Path, kinds: tuple[str, ...] = ("png",)) -> None:
    """Draws the curves of the finished runs as `accuracy.png` (and so on), where there are any."""
    if not any(record.status == "finished" for record in found):
        return
    for kind in kinds:
        image = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "accuracy"}):
            accuracy(found).savefig(image, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
        files.replace(out / f"accuracy.{kind}", image.getvalue())
