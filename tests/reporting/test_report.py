"""The report says what the run directories say, and what they do not."""

import shutil

import pandas
import pytest
from recorded import EPOCHS, UNITS, named, rising, write_run

from reporting import analysis, curves, report, tables

pytestmark = pytest.mark.usefixtures("one_environment")


def test_the_text_holds_the_same_numbers_and_lists_the_odd_runs_apart(runs):
    report.write(runs, runs)
    text = (runs / "report.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| `relu-ic-conv` |   3 |")]
    for number in ("0.9500 ± 0.0100", "0: +0.0500, 1: +0.0200, 2: +0.0200", "+0.0300 ± 0.0100"):
        assert number in line
    (faster,) = [line for line in text.splitlines() if line.startswith("| `ic-conv-relu` ") and "epochs," in line]
    assert "3.0 epochs, 6 s (1 of 2 seeds)" in faster
    (slower,) = [line for line in text.splitlines() if line.startswith("| `baseline` ") and "epochs," in line]
    assert slower.rstrip(" |").endswith("not reached")
    assert "0.9900" not in text  # of the odd ones: in no table
    missing = text.split("## Missing, or not counted")[1]
    assert "`ic-conv-relu` has no seed 2" in missing
    assert "`conv-relu-ic` has no seed 1" in missing
    assert f"`{named('ic-conv-relu', 2)}`: diverged, the loss was not finite at epoch 4, step 17" in missing
    assert f"`{named('conv-relu-ic', 1)}`: unfinished after 2 of 12 epochs" in missing
    assert "Table 1" not in text
    latex = (runs / "tables.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 6
    assert "relu-ic-conv & 3 & 0 1 2 & 0.4750 ± 0.0050 & 0.9500 ± 0.0100" in latex
    assert "`" not in latex
    numbers = pandas.read_csv(runs / "units.csv").set_index("unit")
    assert numbers.loc["relu-ic-conv", "last"] == pytest.approx(0.95)
    assert list(pandas.read_csv(runs / "runs.csv")["status"].value_counts()) == [10, 1, 1]
    assert (runs / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (runs / "accuracy.svg").read_text()


def test_what_normalization_and_dropout_add_is_told_at_each_rate(tmp_path):
    lasts = {
        "baseline": (0.90, 0.92),
        "relu-ic-conv": (0.95, 0.94),
        "relu-ic-conv --model.rate 0.2": (0.91, None),
        "relu-bn-conv": (0.93, 0.94),
        "relu-dropout-conv": (0.70, None),
        "relu-dropout-conv --model.rate 0.2": (0.60, None),
    }
    for unit, values in lasts.items():
        for seed, last in enumerate(values):
            if last is not None:
                options = f"--train.epochs {EPOCHS} --train.drops [8] --seed {seed} --model.unit {unit}"
                late = [0.4, 0.6, 0.65, last, last - 0.05, *[last] * (EPOCHS - 5)]
                write_run(tmp_path, late if "relu-dropout" in unit else rising(last), options)
    accuracy, *_, decided, _, _ = tables.tables(tmp_path, analysis.read_runs(tmp_path)[0]).values()
    assert accuracy["less baseline, by seed"][1] == "0: +0.0500, 1: +0.0200"
    rows = decided.set_index("difference")
    units = (
        "relu-ic-conv",
        "relu-ic-conv, rate 0.2",
        "relu-bn-conv",
        "relu-dropout-conv",
        "relu-dropout-conv, rate 0.2",
    )
    assert list(rows.index) == [
        *(f"`{unit}` less `baseline`" for unit in units),
        "`relu-ic-conv` less `relu-bn-conv`",
        "`relu-ic-conv` less `relu-dropout-conv`",
        "`relu-ic-conv, rate 0.2` less `relu-bn-conv`",
        "`relu-ic-conv, rate 0.2` less `relu-dropout-conv, rate 0.2`",
    ]
    assert list(rows["n"]) == ["2", "1", "2", "1", "1", "2", "1", "1", "1"]
    assert list(rows["better: last epoch"]) == [
        "undecided: +0.0350 [-0.1556, +0.2256]",  # 12.706 standard errors of 0.015
        "undecided: +0.0100",
        "undecided: +0.0250 [-0.0385, +0.0885]",
        "undecided: -0.2000",
        "undecided: -0.3000",
        "undecided: +0.0100 [-0.1171, +0.1371]",
        "undecided: +0.2500",
        "undecided: -0.0200",
        "undecided: +0.3100",
    ]
    one, other = 0.4 + 0.6 + 10 * 0.95, 0.4 + 0.6 + 0.65 + 9 * 0.70 - 0.05
    difference = rows.loc["`relu-ic-conv` less `relu-dropout-conv`"]
    assert difference["faster: mean of all epochs"] == f"undecided: +{(one - other) / 12:.4f}"
    assert difference["more stable: largest drop"] == "undecided: -0.0500"


def test_the_curves_are_the_mean_over_seeds_in_a_band_from_lowest_to_highest(runs):
    (axis,) = curves.accuracy(analysis.read_runs(runs)[0]).axes
    assert [line.get_label() for line in axis.lines] == [
        f"{unit} ({n} seeds)" for unit, n in zip(UNITS, (3, 3, 2, 2), strict=True)
    ]
    assert list(axis.lines[0].get_ydata()) == pytest.approx(rising(0.92, dip=0.02))
    band = axis.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.4, 0.96)
    styles = {(line.get_linestyle(), line.get_marker()) for line in axis.lines}
    assert len(styles) == 4


def test_a_copy_of_a_run_counts_once(runs):
    shutil.copytree(runs / named("baseline", 0), runs / "zz-copy")
    found, _ = analysis.read_runs(runs)
    assert analysis.by_unit(analysis.table(found)).set_index("unit").loc["baseline", "n"] == 3
    assert any("`zz-copy`: a second run of `baseline`, seed 0" in note for note in tables.notes(runs, found, {}))


def test_a_run_that_was_tampered_with_is_listed_and_not_counted(runs):
    path = runs / named("baseline", 0) / "history.csv"
    path.write_text(path.read_text().replace("0.9,", "0.99,"))
    report.write(runs, runs)
    text = (runs / "report.md").read_text()
    assert f"`{named('baseline', 0)}`: " in text
    assert "expected the checksum" in text
    assert "`baseline` has no seed 0" in text


def test_without_a_baseline_it_says_so(tmp_path):
    directory = write_run(tmp_path, rising(0.9), f"--train.epochs {EPOCHS} --model.unit relu-ic-conv")
    found, _ = analysis.read_runs(directory)
    assert any("no finished run of the baseline" in note for note in tables.notes(directory, found, {}))
    assert list(tables.tables(directory, found)["Runs"]["run"]) == ["`.`"]


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_where_there_is_no_run_the_report_is_one_line(name, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert report.main([str(tmp_path / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {tmp_path / name}: expected a folder with run directories, found none\n"


def test_runs_without_an_end_alone_make_a_report_too(tmp_path, capsys):
    write_run(tmp_path, [0.5], "--model.unit baseline", "interrupted")
    assert report.main([str(tmp_path)]) == 0
    assert "interrupted after 1 of 30 epochs" in capsys.readouterr().out
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())  # no curve, and nothing half done
    assert left == ["decisions.csv", "paired.csv", "report.md", "runs.csv", "table1.csv", "tables.tex", "units.csv"]


def test_runs_on_a_part_of_the_images_alone_make_a_report_too(tmp_path, capsys):
    write_run(tmp_path, [0.5], "--model.unit baseline --train.epochs 1 --train.drops [] --data.train_examples 9")
    assert report.main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "digits (9 images)" in text
