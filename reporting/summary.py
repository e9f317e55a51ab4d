"""What the scripts show of a grid at its end: a table of its runs, and their curves."""

import pathlib
import sys

import pandas
import rich.box
import rich.console
import rich.table


def show(directories: list[pathlib.Path]) -> None:
    """Prints a table of those runs that have a result, and draws their curves beside them.

    A setting in which a unit has two seeds or more has a table of its units' means too.
    """
    from reporting import analysis, curves, tables  # not before: they import Keras
    from training import records

    found = [records.read(directory) for directory in directories if (directory / "result.json").exists()]
    if not found:
        return
    runs = analysis.table(found)
    rows = [
        {
            "run": row["directory"].name + ("" if row["status"] == "finished" else f" ({row['status']})"),
            "parameters": f"{row['parameters']:,.0f}",
            "epochs": str(row["epochs"]),
            "last": tables.number(row["last"]),
            "best": tables.number(row["best"]),
            "last ten": tables.number(row["last_ten"]),
            "seconds": f"{row['seconds']:.0f}",
        }
        for _, row in runs.iterrows()
    ]
    _print(pandas.DataFrame(rows), "Test accuracy", "The result is the last epoch's.")
    for setting, units in analysis.by_unit(runs).groupby("setting", sort=False):
        if (units["n"] > 1).any():
            text = tables.accuracy_table(units, analysis.paired(runs)).map(tables.plain)
            means = text[["unit", "n", "last epoch", "best", "last ten"]]
            _print(means, f"Means: {setting}", "Mean ± standard deviation over the n seeds.")
    out = found[0].directory.parent
    for path in curves.save(found, out):
        print(f"{path.stem}: {path}")


def _print(text, title, caption):
    """Prints a frame of text; names, in the first column, are folded where the terminal is narrow."""
    printed = rich.table.Table(title=title, box=rich.box.SIMPLE, caption=caption, collapse_padding=True)
    for column in text:
        name = column == text.columns[0]
        printed.add_column(column, justify="left" if name else "right", no_wrap=not name, overflow="fold")
    for row in text.itertuples(index=False):
        printed.add_row(*row)
    width = None if sys.stdout.isatty() else 120
    rich.console.Console(width=width, markup=False, emoji=False).print(printed)
