"""Tables and curves, from run directories alone.

python -m training.report runs/ [--out results/]
"""

import argparse
import io
import pathlib
import sys

import matplotlib
import pandas
import rich.box
import rich.console
import rich.table

from training import analysis, curves, files, records
from training.errors import UserError

NONE = "-"


def _number(value, digits=4, sign=""):
    return NONE if pandas.isna(value) else f"{value:{sign}.{digits}f}"


def _mean(row, column, digits=4):
    """Mean and standard deviation over the seeds."""
    text = _number(row[column], digits)
    return text if pandas.isna(row[f"{column}_std"]) else f"{text} ± {row[f'{column}_std']:.{digits}f}"


def runs_table(runs: pandas.DataFrame, folder: pathlib.Path) -> pandas.DataFrame:
    """One row a finished run, as text; the result is the last epoch's."""
    counted = analysis.finished(runs)
    return pandas.DataFrame(
        {
            "run": [f"`{directory.relative_to(folder)}`" for directory in counted["directory"]],
            "parameters": [f"{value:,.0f}" for value in counted["parameters"]],
            "epochs": counted["epochs"].astype(str),
            "last epoch": counted["last"].map(_number),
            "best": counted["best"].map(_number),
            "last ten": counted["last_ten"].map(_number),
            "seconds": [f"{value:.0f}" for value in counted["seconds"]],
        }
    )


def accuracy_table(units: pandas.DataFrame, paired: pandas.DataFrame) -> pandas.DataFrame:
    """One row a unit of one setting, as text: the result over seeds, and the differences to the baseline by seed."""
    rows = []
    for _, row in units.iterrows():
        differences = paired[paired["unit"] == row["unit"]].set_index("seed")["difference"]
        error = "" if len(differences) < 2 else f" ± {analysis.standard_error(differences):.4f}"
        rows.append(
            {
                "unit": f"`{row['unit']}`",
                "seeds": row["seeds"],
                "last epoch": _mean(row, "last"),
                "best": _mean(row, "best"),
                "last ten": _mean(row, "last_ten"),
                "less baseline, by seed": ", ".join(f"{s}: {d:+.4f}" for s, d in differences.items()) or NONE,
                "mean ± standard error": _number(differences.mean(), sign="+") + error,
            }
        )
    return pandas.DataFrame(rows)


def faster_table(units: pandas.DataFrame) -> pandas.DataFrame:
    """Epochs and seconds to each accuracy that some run reached, mean over the seeds that did, and how many did."""
    out = pandas.DataFrame({"unit": [f"`{unit}`" for unit in units["unit"]]})
    for target in (f"{target:g}" for target in records.TARGETS):
        reached = units[f"epochs_to_{target}_n"]
        if reached.any():
            out[f"to {target}"] = [
                f"{_number(epochs, 1)} epochs, {_number(seconds, 0)} s ({count} of {n})" if count else f"(0 of {n})"
                for epochs, seconds, count, n in zip(
                    units[f"epochs_to_{target}"], units[f"seconds_to_{target}"], reached, units["n"], strict=True
                )
            ]
    return out


def stable_table(units: pandas.DataFrame) -> pandas.DataFrame:
    """How much the test accuracy moves, mean and standard deviation over seeds."""
    return pandas.DataFrame(
        {
            "unit": [f"`{unit}`" for unit in units["unit"]],
            "standard deviation of the last ten epochs": [_mean(row, "spread") for _, row in units.iterrows()],
            "largest drop between epochs": [_mean(row, "drop") for _, row in units.iterrows()],
        }
    )


def table1_table(table1: pandas.DataFrame) -> pandas.DataFrame:
    """The paper's Table 1 beside ours, as text."""
    return pandas.DataFrame(
        {
            "data": table1["data"],
            "network": table1["network"],
            "unit": [f"`{unit}`" for unit in table1["unit"]],
            "paper": table1["paper"].map(_number),
            "ours": [_mean(row, "last") for _, row in table1.iterrows()],
            "difference": [_number(value, sign="+") for value in table1["difference"]],
            "n": table1["n"].astype(str),
            "epochs": [_number(value, 0) for value in table1["epochs"]],
            "not the paper's": table1["other"].replace("", NONE),
        }
    )


def missing(units: pandas.DataFrame) -> list[str]:
    """What one setting lacks for a full comparison."""
    seeds = {unit: set(text.split()) for unit, text in zip(units["unit"], units["seeds"], strict=True)}
    every = set().union(*seeds.values())
    out = [] if analysis.BASELINE in seeds else ["no finished run of the baseline, so no differences"]
    return out + [
        f"`{unit}` has no seed {', '.join(sorted(every - found, key=int))}"
        for unit, found in seeds.items()
        if every - found
    ]


def odd_ones(runs: pandas.DataFrame, found: list[records.Record], unreadable: dict, folder: pathlib.Path) -> list[str]:
    """The runs that are in no mean, and why."""
    results = {record.directory: record.result for record in found}
    out = []
    for _, row in analysis.left_out(runs).iterrows():
        name = f"`{row['directory'].relative_to(folder)}`"
        if row["status"] == "diverged":
            place = results[row["directory"]]["diverged_at"]
            out.append(f"{name}: diverged, the loss was not finite at epoch {place['epoch']}, step {place['step']}")
        elif row["status"] == "finished":
            out.append(f"{name}: a second run of `{row['unit']}`, seed {row['seed']}, in the setting {row['setting']}")
        else:
            out.append(f"{name}: {row['status']} after {row['epochs']} of {row['of_epochs']} epochs")
    return out + [f"`{directory.relative_to(folder)}`: {message}" for directory, message in unreadable.items()]


def tables(folder: pathlib.Path, found: list[records.Record]) -> dict[str, pandas.DataFrame]:
    """Every table of the report, as text, by its title."""
    runs = analysis.table(found)
    units, paired, table1 = analysis.by_unit(runs), analysis.paired(runs), analysis.table1(found)
    out = {"Table 1": table1_table(table1)} if table1["n"].any() else {}
    for setting, group in units.groupby("setting", sort=False):
        out[setting] = accuracy_table(group, paired[paired["setting"] == setting])
        out[f"{setting}: faster"] = faster_table(group)
        out[f"{setting}: more stable"] = stable_table(group)
    return out | ({"Runs": runs_table(runs, folder)} if len(units) else {})


def notes(folder: pathlib.Path, found: list[records.Record], unreadable: dict[pathlib.Path, str]) -> list[str]:
    """What is missing, what is not comparable, and what is in no mean."""
    runs = analysis.table(found)
    units = analysis.by_unit(runs)
    out = []
    if not analysis.table1(found)["n"].any():
        out.append("Table 1: no finished run of any of its 32 cells.")
    differing = analysis.varying([analysis.setting(record) for record in found])
    if differing:
        keys = "; ".join(f"{key} ({', '.join(map(str, values))})" for key, values in differing.items())
        out.append(f"Runs of different settings are neither averaged nor compared; the settings differ in {keys}.")
    for setting, group in units.groupby("setting", sort=False):
        out += [f"{setting}: {line}." for line in missing(group)]
    return out + odd_ones(runs, found, unreadable, folder)


def markdown(titled: dict[str, pandas.DataFrame], remarks: list[str]) -> str:
    """The report as Markdown."""
    parts = [
        "# Report",
        "Made from run directories by `python -m training.report`. Accuracies are on the test images after the last "
        "epoch; the best epoch and the mean of the last ten stand beside them and are never the result. Numbers are "
        "means over seeds, ± the standard deviation where there are two seeds or more.",
    ]
    if titled:
        parts += ["![Test accuracy over epochs](accuracy.png)"]
    for title, text in titled.items():
        alignment = ["left" if column in ("run", "unit", "data", "network") else "right" for column in text]
        parts += [f"## {title}", text.to_markdown(index=False, disable_numparse=True, colalign=alignment)]
    if remarks:
        parts += ["## Missing, or not counted", "\n".join(f"- {line}" for line in remarks)]
    return "\n\n".join(parts) + "\n"


def latex(titled: dict[str, pandas.DataFrame]) -> str:
    """The tables as LaTeX, for the package booktabs."""
    texts = [
        text.map(lambda cell: cell.replace("`", ""))
        .style.hide(axis="index")
        .format(escape="latex")
        .format_index(escape="latex", axis="columns")
        .to_latex(hrules=True, caption=title.replace("_", r"\_"))
        for title, text in titled.items()
    ]
    return "\n".join(texts)


def write(folder: pathlib.Path, out: pathlib.Path) -> None:
    """Writes report.md, tables.tex, the numbers as CSV and the curves as PNG and SVG into `out`.

    Raises:
        UserError: there is no run below `folder`, or `out` cannot be written.
    """
    found, unreadable = analysis.read_runs(folder)
    titled, runs = tables(folder, found), analysis.table(found)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: expected a folder that can be written, found {out}: {error.strerror}") from error
    files.replace(out / "report.md", markdown(titled, notes(folder, found, unreadable)))
    files.replace(out / "tables.tex", latex(titled))
    runs["directory"] = [directory.relative_to(folder) for directory in runs["directory"]]
    numbers = {"runs": runs, "units": analysis.by_unit(runs), "paired": analysis.paired(runs)}
    for name, frame in (numbers | {"table1": analysis.table1(found)}).items():
        files.replace(out / f"{name}.csv", frame.to_csv(index=False))
    draw(found, out, ("png", "svg"))


def draw(found: list[records.Record], out: pathlib.Path, kinds: tuple[str, ...] = ("png",)) -> None:
    """Draws the curves of the finished runs as `accuracy.png` (and so on), where there are any."""
    if not any(record.status == "finished" for record in found):
        return
    for kind in kinds:
        image = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "accuracy"}):
            curves.accuracy(found).savefig(
                image, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None
            )
        files.replace(out / f"accuracy.{kind}", image.getvalue())


def show(directories: list[pathlib.Path]) -> None:
    """Prints a table of these runs, also of those that did not finish, and draws their curves beside them."""
    found = [records.read(directory) for directory in directories if (directory / "result.json").exists()]
    if not found:
        return
    caption = "The result is the last epoch's."
    printed = rich.table.Table(title="Test accuracy", box=rich.box.SIMPLE, caption=caption, collapse_padding=True)
    for name in ("run", "parameters", "epochs", "last", "best", "last ten", "seconds"):
        printed.add_column(name, justify="left" if name == "run" else "right", no_wrap=name != "run", overflow="fold")
    for _, row in analysis.table(found).iterrows():
        name = row["directory"].name
        printed.add_row(
            name if row["status"] == "finished" else f"{name} ({row['status']})",
            f"{row['parameters']:,.0f}",
            str(row["epochs"]),
            *(_number(row[column]) for column in ("last", "best", "last_ten")),
            f"{row['seconds']:.0f}",
        )
    rich.console.Console(width=None if sys.stdout.isatty() else 120).print(printed)
    out = found[0].directory.parent
    draw(found, out)
    print(f"curves: {out / 'accuracy.png'}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description="Tables and curves from run directories."
    )
    parser.add_argument("runs", type=pathlib.Path, help="folder with run directories, at any depth")
    parser.add_argument("--out", type=pathlib.Path, help="where report.md, the tables and the curves go; default: RUNS")
    options = parser.parse_args(argv)
    try:
        out = options.out or options.runs
        write(options.runs, out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print((out / "report.md").read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
