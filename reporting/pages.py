"""What pages show of the records, written anew: tables and pictures.

python -m reporting.pages PAGE...

A table stands between `<!-- FOLDER -->` and `<!-- /FOLDER -->`. It has rows and columns of one table of the report of
the run directories in FOLDER: those that its header and its first column name. A picture in FOLDER is drawn anew.
"""

import argparse
import functools
import pathlib
import re
import sys
import tempfile

import pandas

from training.devices.backend import import_keras
from training.errors import UserError, exit_codes

TABLE = re.compile(r"<!-- (results/.*) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
PICTURE = re.compile(r"!\[[^]]*\]\(([^)]*\.png)\)")


@functools.cache
def reported(folder: pathlib.Path) -> tuple[list, list[pandas.DataFrame]]:
    """The records in a folder, by its absolute path, and the tables of their report, as text."""
    from reporting import analysis, tables

    found, _ = analysis.read_runs(folder)
    return found, list(tables.tables(folder, found).values())


def filled(text: str) -> str:
    """The text of a page with its tables as the report has them.

    Raises:
        UserError: no table of the report has all rows and columns that a table names.
    """
    return TABLE.sub(lambda mark: f"<!-- {mark[1]} -->\n{_table(*mark.groups())}\n<!-- /{mark[1]} -->", text)


def _table(folder, text):
    from reporting import tables

    (key, *columns), *rows = map(_cells, text.splitlines() or [""])
    names = [row[0] for row in rows[1:]]  # behind the line below the header
    for table in reported(pathlib.Path(folder).resolve())[1]:
        if {key, *columns} <= set(table) and set(names) <= set(table[key]):
            wanted = table.set_index(key).loc[names, columns].reset_index()
            return tables.markdown_table(wanted)
    raise UserError(
        f"<!-- {folder} -->: expected columns and rows of one table of its report, found the columns "
        f"{', '.join([key, *columns])} and the rows {', '.join(names)}"
    )


def _cells(line):
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1] or [""]]


def pictures(page: pathlib.Path, text: str) -> dict[pathlib.Path, bytes]:
    """The pictures of records that a page with this text shows, as they are to be, by their places."""
    from reporting import curves

    out = {}
    shown = [(page.parent / name).resolve() for name in PICTURE.findall(text)]
    for folder in {pathlib.Path(mark[1]).resolve() for mark in TABLE.finditer(text)}:
        with tempfile.TemporaryDirectory() as drawn:
            for picture in curves.save(reported(folder)[0], pathlib.Path(drawn)):
                if folder / picture.name in shown:
                    out[folder / picture.name] = picture.read_bytes()
    return out


@exit_codes
def main(argv: list[str]) -> int:
    from training import files

    parser = argparse.ArgumentParser(prog="python -m reporting.pages", description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=pathlib.Path, nargs="+", help="Markdown files")
    options = parser.parse_args(argv)
    import_keras()
    for page in options.pages:
        try:
            text = page.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{page}: expected a page of Markdown, found {error}") from error
        for place, content in (pictures(page, text) | {page: filled(text)}).items():
            files.replace(place, content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
