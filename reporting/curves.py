"""Curves of runs."""

import dataclasses
import io
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import matplotlib
import pandas
from matplotlib import figure
from PIL import Image

from reporting import analysis, decisions, shifts
from training import files
from training.records import Record

DASHES, MARKERS = ("-", "--", ":"), ("o", "s", "^", "D", "v")  # 15 different pairs
MOST_WITHIN = 6  # lines whose legend finds room between them


def accuracy(found: list[Record]) -> figure.Figure:
    """Test accuracy over epochs (Fig. 4)."""
    return over_epochs(found, "test accuracy", lambda history: history["val_accuracy"])


def differences(found: list[Record]) -> figure.Figure:
    """Test accuracy less that of the baseline of the same setting and seed; runs without one are left out."""
    runs = analysis.finished(analysis.table(found))
    baselines = runs[runs["unit"] == analysis.BASELINE]
    pairs = runs.merge(baselines, on=["setting", "seed"], suffixes=("", "_less"))
    records = {record.directory: record for record in found}
    less = [
        dataclasses.replace(
            records[one], history=records[one].history.assign(less=records[other].history["val_accuracy"])
        )
        for one, other in zip(pairs["directory"], pairs["directory_less"], strict=True)
    ]
    return over_epochs(
        less, "test accuracy less the baseline's", lambda history: history["val_accuracy"] - history["less"]
    )


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
        axis.set_title(name, parse_math=False, loc="left")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        aside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if group["unit"].nunique() > MOST_WITHIN else {}
        axis.legend(fontsize="small", **aside)
    return drawing


def save(found: list[Record], out: pathlib.Path, kinds: tuple[str, ...] = ("png",)) -> list[pathlib.Path]:
    """Draws the finished runs as `accuracy.png` and, where it has something to show, `differences.png`, and so on.

    Returns:
        The files.
    """
    finished = [record for record in found if record.status == "finished"]
    if not finished:
        return []
    drawings = {"accuracy": accuracy(finished)}
    decided = decisions.decide(analysis.paired(analysis.table(finished)))
    if (decided["less"] == analysis.BASELINE).any():
        drawings["differences"] = differences(finished)
    for name, rows in {"decisions": decided, "parts": decisions.parts(decided)}.items():
        if rows["low"].notna().any():
            drawings[name] = decisions.drawing(rows)
    if diagnosed := shifts.diagnosed(finished):
        drawings["shift"] = shifts.drawing(diagnosed)
    written = []
    for (name, drawing), kind in itertools.product(drawings.items(), kinds):
        image = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": name}):
            drawing.savefig(image, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else None)
        if kind == "png":  # 256 colors are enough, and take a third of the bytes
            colors, image = Image.open(image).convert("RGB").quantize(), io.BytesIO()
            colors.save(image, "png")
        written.append(out / f"{name}.{kind}")
        files.replace(written[-1], image.getvalue())
    return written
