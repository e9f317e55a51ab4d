"""Tables of the report, as text."""

import pathlib
import re
from typing import Any

import numpy as np
import pandas

from reporting import analysis, decisions, shifts
from training import records

NONE = "-"
SIZES = (0.005, 0.01, 0.02, 0.03)  # of Table 1's gains
CAPTIONS = {
    "accuracy": "Accuracy over epochs",
    "differences": "Differences over epochs",
    "decisions": "Paired differences, with 95% intervals",
    "parts": "Where batch normalization stands, and what dropout adds: paired differences, with 95% intervals",
    "shift": "Variance shift, predicted and measured",
}
# What LaTeX does not print as it stands; "[" would belong to the end of the row before it.
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}"}
)
LEFT = ("run", "unit", "difference", "setting", "data", "network")  # columns of words


def code(name: Any) -> str:
    """A name as Markdown's code; a backtick, which would end it, becomes an apostrophe."""
    text = " ".join(str(name).replace("`", "'").split())
    return f"`{text}`"


def plain(cell: str) -> str:
    """What is in a cell, without Markdown's marks of code."""
    return cell.replace("`", "")


def escaped(text: str) -> str:
    """Running text that Markdown shows as it stands."""
    return re.sub(r"[\\`*<&~$]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)


def number(value: float, digits: int = 4, sign: str = "") -> str:
    """A number with so many digits after the point; a dash for NaN."""
    return NONE if pandas.isna(value) else f"{value:{sign}.{digits}f}"


def _mean(row, column, digits=4):
    """Mean and standard deviation over the seeds."""
    text = number(row[column], digits)
    return text if pandas.isna(row[f"{column}_std"]) else f"{text} ± {row[f'{column}_std']:.{digits}f}"


def _difference(values, digits=4):
    """Mean and standard error of those differences that are not NaN."""
    text, error = number(values.mean(), digits, sign="+"), values.sem()
    return (text if pandas.isna(error) else f"{text} ± {error:.{digits}f}") + _seeds(values.count(), len(values))


def _seeds(count, n):
    """What stands behind a number that only some of the row's seeds have."""
    return f" ({count} of {n} seeds)" if 0 < count < n else ""


def runs_table(runs: pandas.DataFrame, folder: pathlib.Path) -> pandas.DataFrame:
    """One row a finished run, as text; the result is the last epoch's."""
    counted = analysis.finished(runs)
    return pandas.DataFrame(
        {
            "run": [code(directory.relative_to(folder)) for directory in counted["directory"]],
            "parameters": [f"{value:,.0f}" for value in counted["parameters"]],
            "test images": [f"{value:,.0f}" for value in counted["test_images"]],
            "epochs": counted["epochs"].astype(str),
            "last epoch": counted["last"].map(number),
            "best": counted["best"].map(number),
            "last ten": counted["last_ten"].map(number),
            "seconds": [f"{value:.0f}" for value in counted["seconds"]],
        }
    )


def accuracy_table(units: pandas.DataFrame, paired: pandas.DataFrame) -> pandas.DataFrame:
    """One row a unit of one setting, as text: the result over seeds, and the differences to the baseline by seed."""
    rows = []
    for _, row in units.iterrows():
        pairs = paired[(paired["unit"] == row["unit"]) & (paired["less"] == analysis.BASELINE)]
        differences = pairs.set_index("seed")["last"]
        rows.append(
            {
                "unit": code(row["unit"]),
                "n": str(row["n"]),
                "seeds": row["seeds"],
                "training": _mean(row, "training"),
                "last epoch": _mean(row, "last"),
                "best": _mean(row, "best"),
                "last ten": _mean(row, "last_ten"),
                "less baseline, by seed": ", ".join(f"{s}: {d:+.4f}" for s, d in differences.items()) or NONE,
                "mean ± standard error": _difference(differences),
            }
        )
    return pandas.DataFrame(rows)


def faster_table(units: pandas.DataFrame) -> pandas.DataFrame:
    """Epochs and seconds to each accuracy that some run reached: mean over the seeds that did, which may be fewer."""
    out = pandas.DataFrame({"unit": [code(unit) for unit in units["unit"]]})
    for target in (f"{target:g}" for target in records.TARGETS):
        if units[f"epochs_to_{target}_n"].any():
            out[f"to {target}"] = [_reached(row, target) for _, row in units.iterrows()]
    return out


def _reached(row, target):
    count = row[f"epochs_to_{target}_n"]
    if not count:
        return "not reached"
    text = f"{row[f'epochs_to_{target}']:.1f} epochs, {number(row[f'seconds_to_{target}'], 0)} s"
    return text + _seeds(count, row["n"])


def stable_table(units: pandas.DataFrame) -> pandas.DataFrame:
    """How much the test accuracy moves, mean and standard deviation over seeds."""
    return pandas.DataFrame(
        {
            "unit": [code(unit) for unit in units["unit"]],
            "standard deviation of the last ten epochs": [_mean(row, "spread") for _, row in units.iterrows()],
            "largest drop between epochs": [_mean(row, "drop") for _, row in units.iterrows()],
        }
    )


def decisions_table(decided: pandas.DataFrame) -> pandas.DataFrame:
    """One row a pair of units of one setting, as text: a word for each claim, the mean difference, its 95% interval."""
    cells = decided.assign(
        difference=[f"{code(row.unit)} less {code(row.less)}" for row in decided.itertuples()],
        cell=[_decision(row) for row in decided.itertuples()],
    )
    text = cells.pivot_table(index=["difference", "n"], columns="claim", values="cell", aggfunc="first", sort=False)
    return text.rename(columns=decisions.CLAIMS).fillna(NONE).reset_index().astype(str)


def _decision(row):
    word = f"none above {decisions.NONE}" if row.word == "none" else row.word
    interval = "" if pandas.isna(row.low) else f" [{row.low:+.4f}, {row.high:+.4f}]"
    return f"{word}: {row.mean:+.4f}{interval}"


def seeds_table(decided: pandas.DataFrame) -> pandas.DataFrame:
    """One row a setting, as text: how far differences of the result spread over seeds, and the seeds that decide.

    The spread is the root of the pairs' mean variance, weighted by their degrees of freedom, and in parentheses the
    lowest and the highest pair's; seeds are for that root, and in parentheses for the highest.
    """
    rows = []
    for setting, pairs in decided[decided["claim"] == "last"].dropna(subset="low").groupby("setting", sort=False):
        spread = np.sqrt(np.average(pairs["std"] ** 2, weights=pairs["n"] - 1))
        row = {"setting": code(setting), "pairs": str(len(pairs)), "n": _span(pairs["n"])}
        row["standard deviation"] = f"{spread:.4f} ({pairs['std'].min():.4f} to {pairs['std'].max():.4f})"
        for size in SIZES:
            needed = [decisions.seeds_needed(each, size) for each in (spread, pairs["std"].max())]
            row[f"seeds for {size}"] = "{} ({})".format(*needed)
        rows.append(row)
    return pandas.DataFrame(rows)


def _span(values):
    return " to ".join(map(str, sorted({values.min(), values.max()})))


def table1_table(table1: pandas.DataFrame) -> pandas.DataFrame:
    """The paper's Table 1 beside ours, as text."""
    return pandas.DataFrame(
        {
            "data": table1["data"],
            "network": table1["network"],
            "unit": [code(unit) for unit in table1["unit"]],
            "paper": table1["paper"].map(number),
            "ours": [_mean(row, "last") for _, row in table1.iterrows()],
            "difference": [number(value, sign="+") for value in table1["difference"]],
            "n": table1["n"].astype(str),
            "epochs": [number(value, 0) for value in table1["epochs"]],
            "not the paper's": table1["other"].replace("", NONE),
        }
    )


def missing(units: pandas.DataFrame) -> list[str]:
    """What one setting lacks for a full comparison."""
    seeds = {unit: set(text.split()) for unit, text in zip(units["unit"], units["seeds"], strict=True)}
    every = set().union(*seeds.values())
    out = [] if analysis.BASELINE in seeds else ["no finished run of the baseline, so no differences"]
    return out + [
        f"{code(unit)} has no seed {', '.join(sorted(every - found, key=int))}"
        for unit, found in seeds.items()
        if every - found
    ]


def odd_ones(runs: pandas.DataFrame, found: list[records.Record], unreadable: dict, folder: pathlib.Path) -> list[str]:
    """The runs that are in no mean, and why."""
    results = {record.directory: record.result for record in found if record.result}
    out = []
    for _, row in analysis.left_out(runs).iterrows():
        name = code(row["directory"].relative_to(folder))
        if row["status"] == "diverged":
            place = results[row["directory"]]["diverged_at"]
            out.append(f"{name}: diverged, the loss was not finite at epoch {place['epoch']}, step {place['step']}")
        elif row["status"] == "finished":
            setting = escaped(row["setting"])
            out.append(f"{name}: a second run of {code(row['unit'])}, seed {row['seed']}, in the setting {setting}")
        else:
            out.append(f"{name}: {row['status']} after {row['epochs']} of {row['of_epochs']} epochs")
    return out + [f"{code(path.relative_to(folder))}: {escaped(message)}" for path, message in unreadable.items()]


def tables(folder: pathlib.Path, found: list[records.Record]) -> dict[str, pandas.DataFrame]:
    """Every table of the report, as text, by its title."""
    runs = analysis.table(found)
    units, paired, table1 = analysis.by_unit(runs), analysis.paired(runs), analysis.table1(found)
    decided = decisions.decide(paired)
    out = {"Table 1": table1_table(table1)} if table1["n"].any() else {}
    for setting, group in units.groupby("setting", sort=False):
        pairs = paired[paired["setting"] == setting]
        out[setting] = accuracy_table(group, pairs)
        faster = faster_table(group)
        if len(faster.columns) > 1:
            out[f"{setting}: faster"] = faster
        if group["spread"].notna().any():
            out[f"{setting}: more stable"] = stable_table(group)
        if len(pairs):
            out[f"{setting}: decided"] = decisions_table(decided[decided["setting"] == setting])
    if decided["low"].notna().any():
        out["Seeds"] = seeds_table(decided)
    diagnosed = shifts.diagnosed(found)
    out |= shifts.tables(diagnosed) if diagnosed else {}
    return out | ({"Runs": runs_table(runs, folder)} if len(units) else {})


def notes(folder: pathlib.Path, found: list[records.Record], unreadable: dict[pathlib.Path, str]) -> list[str]:
    """What is missing, what is not comparable, and what is in no mean."""
    runs = analysis.table(found)
    units = analysis.by_unit(runs)
    table1 = analysis.table1(found)
    meant = not runs.merge(table1, on=["data", "network"]).empty
    out = ["Table 1: no finished run of any of its 32 cells."] if meant and not table1["n"].any() else []
    differing = analysis.varying([analysis.setting(record) for record in found])
    if differing.keys() & {"data.name", "data.train_examples"}:
        differing.pop("images_sha256", None)  # says no more
    if differing:
        keys = escaped("; ".join(f"{key} ({', '.join(map(str, values))})" for key, values in differing.items()))
        out.append(f"Runs of different settings are neither averaged nor compared; the settings differ in {keys}.")
    for setting, group in units.groupby("setting", sort=False):
        out += [f"{escaped(setting)}: {line}." for line in missing(group)]
    return out + odd_ones(runs, found, unreadable, folder)


def markdown_table(text: pandas.DataFrame) -> str:
    """A table as Markdown."""
    alignment = ["left" if column in LEFT else "right" for column in text]
    cells = text.map(lambda cell: cell.replace("|", r"\|"))
    return cells.to_markdown(index=False, disable_numparse=True, colalign=alignment)


def markdown(titled: dict[str, pandas.DataFrame], remarks: list[str], pictures: list[pathlib.Path]) -> str:
    """The report as Markdown, which shows the pictures that lie beside it."""
    parts = [
        "# Report",
        "Made from run directories by `python -m reporting`. Accuracies are on the test images after the last "
        "epoch; the best epoch and the mean of the last ten stand beside them and are never the result, and `training` "
        "is the last epoch's on the training images, augmented and with dropout. Numbers are means over seeds, ± the "
        "standard deviation where there are two seeds or more. Seconds hold training, evaluation and, in the first "
        "epoch, tracing.",
        "What is decided: differences are paired by seed, with the 95% interval of their mean (Student's t); larger or "
        "smaller, or none above 0.005, where p, corrected for all pairs of the table (Holm), is below 0.05. Seeds: "
        "those that a difference of the last epoch needs to be found in 4 of 5 studies, one pair at 5%; by the spread "
        "of all pairs and, in parentheses, of the widest.",
    ]
    parts += [f"![{CAPTIONS[picture.stem]}]({picture.name})" for picture in pictures]
    for title, text in titled.items():
        parts += [f"## {escaped(title)}", markdown_table(text)]
    if remarks:
        parts += ["## Missing, or not counted", "\n".join(f"- {line}" for line in remarks)]
    return "\n\n".join(parts) + "\n"


def latex(titled: dict[str, pandas.DataFrame]) -> str:
    """The tables as LaTeX, for the package booktabs."""
    texts = [
        text.map(lambda cell: plain(cell).translate(LATEX))
        .rename(columns=lambda column: column.translate(LATEX))
        .style.hide(axis="index")
        .to_latex(hrules=True, caption=title.translate(LATEX))
        for title, text in titled.items()
    ]
    return "\n".join(texts)
