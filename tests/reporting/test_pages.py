"""What a page shows of the records is what their report says."""

import pathlib
import shutil

import pytest

from reporting import pages, tables

pytestmark = pytest.mark.usefixtures("one_environment")
MARKS = "Before.\n\n<!-- results/mine -->\n{}\n<!-- /results/mine -->\n\nAfter, `0.9500`.\n"
ASKED = "| unit | last epoch | n |\n|-\n| `relu-ic-conv` | 0.1 | 7 |\n| `baseline` |"


@pytest.fixture
def page(runs, tmp_path, monkeypatch):
    """Writes a page beside records in results/mine."""
    (tmp_path / "results").mkdir()
    shutil.move(runs, tmp_path / "results" / "mine")
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = pathlib.Path("page.md")
        path.write_text(text)
        return path

    return write


def test_a_table_has_the_rows_and_columns_that_it_names_with_the_numbers_of_the_report(page):
    path = page(MARKS.format(ASKED))
    assert pages.main([str(path)]) == 0
    table = "\n".join(
        [
            "| unit           |      last epoch |   n |",
            "|:---------------|----------------:|----:|",
            "| `relu-ic-conv` | 0.9500 ± 0.0100 |   3 |",
            "| `baseline`     | 0.9200 ± 0.0200 |   3 |",
        ]
    )
    assert path.read_text() == MARKS.format(table)
    assert pages.filled(path.read_text()) == path.read_text()


def test_every_table_of_a_report_can_be_shown_whole(page, monkeypatch):
    found, reported = pages.reported(pathlib.Path("results/mine").resolve())
    piped = [table.map(lambda cell: cell.replace("relu-ic-conv", "relu ic | conv")) for table in reported]
    monkeypatch.setattr(pages, "reported", lambda folder: (found, piped))
    for table in piped:
        text = MARKS.format(tables.markdown_table(table))
        assert pages.filled(text) == text


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (ASKED.replace("baseline", "bassline"), "`relu-ic-conv`, `bassline`"),
        (ASKED.replace("last epoch", "first epoch"), "unit, first epoch, n"),
        ("", "found the columns and the rows"),
    ],
)
def test_what_the_report_does_not_have_is_named_and_the_page_left_alone(table, found, page, capsys):
    path = page(MARKS.format(table))
    assert pages.main([str(path)]) == 2
    assert path.read_text() == MARKS.format(table)
    (line,) = capsys.readouterr().err.splitlines()
    assert "results/mine" in line
    assert found in line


def test_a_page_that_is_not_there_is_named(tmp_path, capsys):
    assert pages.main([str(tmp_path / "none.md")]) == 2
    assert "none.md: expected a page" in capsys.readouterr().err


def test_only_pictures_of_its_records_that_a_page_shows_are_drawn_anew(page):
    other = pathlib.Path("decisions.png")
    other.write_bytes(b"")
    text = MARKS.format(ASKED) + "![one](results/mine/decisions.png)\n![other](decisions.png)\n"
    assert pages.main([str(page(text))]) == 0
    assert pathlib.Path("results/mine/decisions.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in pathlib.Path("results/mine").glob("*.png")] == ["decisions.png"]
    assert other.read_bytes() == b""
