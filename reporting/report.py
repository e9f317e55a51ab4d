"""Tables and curves, from run directories alone.

python -m reporting RUNS [--out FOLDER]
"""

import argparse
import pathlib

from training.devices.backend import import_keras
from training.errors import UserError, exit_codes


def write(folder: pathlib.Path, out: pathlib.Path) -> None:
    """Writes report.md, tables.tex, the numbers as CSV and the curves as PNG and SVG into `out`.

    Raises:
        UserError: there is no run below `folder`, or `out` cannot be written.
    """
    from reporting import analysis, curves, decisions, tables
    from training import files

    found, unreadable = analysis.read_runs(folder)
    titled, runs = tables.tables(folder, found), analysis.table(found)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out: expected a folder that can be written, found {out}: {error.strerror}") from error
    pictures = [path for path in curves.save(found, out, ("png", "svg")) if path.suffix == ".png"]
    files.replace(out / "report.md", tables.markdown(titled, tables.notes(folder, found, unreadable), pictures))
    files.replace(out / "tables.tex", tables.latex(titled))
    runs["directory"] = [directory.relative_to(folder) for directory in runs["directory"]]
    paired = analysis.paired(runs)
    numbers = {"runs": runs, "units": analysis.by_unit(runs), "paired": paired, "decisions": decisions.decide(paired)}
    for name, frame in (numbers | {"table1": analysis.table1(found)}).items():
        files.replace(out / f"{name}.csv", frame.to_csv(index=False))


@exit_codes
def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m reporting", description="Tables and curves from run directories.")
    parser.add_argument("runs", type=pathlib.Path, help="folder with run directories, at any depth")
    parser.add_argument("--out", type=pathlib.Path, help="where report.md, the tables and the curves go; default: RUNS")
    options = parser.parse_args(argv)
    import_keras()
    out = options.out or options.runs
    write(options.runs, out)
    print((out / "report.md").read_text(encoding="utf-8"), end="")
    return 0
