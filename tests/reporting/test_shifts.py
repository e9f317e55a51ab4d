"""The variance shift of runs, over layers and seeds: tables, intervals and the figure."""

import numpy as np
import pandas
import pytest
from recorded import EPOCHS, rising, write_run

from reporting import analysis, curves, report, shifts, tables

# Of a network of two batch normalizations, by ordering and seed: measured, then the run's accuracies.
SHIFTS = {
    ("conv-dropout-bn-relu", 0): ((4.0, 9.0), (0.5, 0.7)),
    ("conv-dropout-bn-relu", 1): ((3.0, 12.0), (0.6, 0.75)),
    ("wide", 0): ((1.0, 1.21), (0.8, 0.8)),
}


def diagnose(directory, measured, accuracies, predicted=1.1):
    """Writes what was measured in a run directory; the predictions are `predicted` times that, None: not there."""
    names = ("stem_bn", "stage1_unit1_bn1")
    rows = [
        {"layer": name, "variance_shift": shift, "mode": "inference"}
        for name, shift in zip(names, measured, strict=True)
    ]
    if predicted:
        rows = [row | {"predicted_variance_shift": predicted * row["variance_shift"]} for row in rows]
    rows += [
        {"mode": mode, "accuracy": each} for mode, each in zip(("inference", "recomputed"), accuracies, strict=True)
    ]
    rows = [row | {"model": "trained"} for row in rows]
    rows += [
        {"model": "initial", "mode": mode, "variance_shift": 99.0, "accuracy": each}
        for mode, each in (("inference", 0.1), ("recomputed", 0.2))
    ]
    pandas.DataFrame(rows).to_csv(directory / "diagnostics.csv", index=False)


@pytest.fixture
def found(one_environment, tmp_path):
    for (unit, seed), (measured, accuracies) in SHIFTS.items():
        options = f"--train.epochs {EPOCHS} --train.drops [8] --model.rate 0.5 --model.unit {unit} --seed {seed}"
        diagnose(write_run(tmp_path, rising(0.9), options), measured, accuracies)
    return analysis.read_runs(tmp_path)[0]


def test_a_run_has_the_geometric_means_of_its_layers_and_what_statistics_gain(found):
    rows = shifts.by_run(found).set_index(["ordering", "seed"])
    for key, (measured, (moving, recomputed)) in SHIFTS.items():
        assert rows.loc[key, "measured"] == pytest.approx(np.sqrt(np.prod(measured)))
        assert rows.loc[key, "predicted"] == pytest.approx(1.1 * np.sqrt(np.prod(measured)))
        assert rows.loc[key, "gain"] == pytest.approx(recomputed - moving)
    assert set(rows["network"]) == {"ResNet-14"}


def test_tables_have_geometric_means_and_the_intervals_of_students_t(found):
    shift, gain = shifts.tables(found).values()
    assert list(shift["unit"]) == ["`conv-dropout-bn-relu`", "`wide`"]
    # of two values: the mean ± 12.706 / 2 of their distance; the geometric mean of each run is 6
    assert list(shift["ResNet-14"]) == ["6.00 [6.00, 6.00] (6.60)", "1.10 (1.21)"]
    assert list(gain["ResNet-14"]) == [f"+0.175 ± {12.706 / 2 * 0.05:.3f}", "+0.000"]


def test_an_interval_is_that_of_the_logarithms(found):
    diagnose(found[1].directory, (3.0, 27.0), (0.6, 0.75))
    cell = shifts.tables(analysis.read_runs(found[0].directory.parent)[0])
    low, high = (np.sqrt(54) * (9 / 6) ** (sign * 12.7062 / 2) for sign in (-1, 1))
    assert (
        next(iter(cell.values()))["ResNet-14"][0]
        == f"{np.sqrt(54):.2f} [{low:.2f}, {high:.2f}] ({1.1 * np.sqrt(54):.2f})"
    )


def test_ratios_of_networks_are_paired_by_seed(found, tmp_path):
    for seed, measured in ((0, (2.0, 4.5)), (1, (12.0, 12.0)), (2, (1.0, 1.0))):
        options = f"--train.epochs {EPOCHS} --train.drops [8] --model.rate 0.5 --model.unit conv-dropout-bn-relu"
        diagnose(write_run(tmp_path, rising(0.9), f"{options} --model.depth 8 --seed {seed}"), measured, (0.5, 0.5))
    (row,) = shifts.ratios(analysis.read_runs(tmp_path)[0], "ResNet-8", "ResNet-14").to_dict("records")
    low, high = (4 ** (sign * 12.7062 / 2) for sign in (-1, 1))  # of seeds 0 and 1: a half and 2
    assert (row["ordering"], row["rate"], row["n"]) == ("conv-dropout-bn-relu", 0.5, 2)
    assert [row["ratio"], row["low"], row["high"]] == pytest.approx([1, low, high], rel=1e-4)


@pytest.mark.parametrize("values", [[1.0], [1.0, 3.0], [0.2, 0.5, 0.3, 0.9]])
def test_half_of_an_interval_is_students_t_times_the_standard_error(values):
    quantile = {1: np.nan, 2: 12.7062, 4: 3.18245}[len(values)]  # of a printed table
    mean = sum(values) / len(values)
    error = np.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1) / len(values))
    assert analysis.half_interval(pandas.Series(values)) == pytest.approx(quantile * error, rel=1e-5, nan_ok=True)


def test_the_report_shows_shifts_where_there_are_any(found, tmp_path):
    report.write(tmp_path, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "![Variance shift, predicted and measured](shift.png)" in text
    for title, table in shifts.tables(found).items():
        assert tables.escaped(title) in text
        assert tables.markdown_table(table) in text
    for record in found:
        (record.directory / "diagnostics.csv").unlink()
    report.write(tmp_path, tmp_path / "without")
    assert "Variance shift" not in (tmp_path / "without" / "report.md").read_text()
    assert not (tmp_path / "without" / "shift.png").exists()


def test_a_run_without_batch_normalization_or_that_does_not_count_shows_none(found, tmp_path):
    options = f"--train.epochs {EPOCHS} --train.drops [8] --model.rate 0.5 --model.unit wide --seed 0"
    diagnose(write_run(tmp_path / "again", rising(0.9), options), (5.0, 5.0), (0.5, 0.5))
    none = write_run(tmp_path, rising(0.9), options.replace("wide", "relu-dropout-conv"))
    pandas.DataFrame({"model": ["trained"], "variance_shift": [np.nan]}).to_csv(none / "diagnostics.csv")
    every = analysis.read_runs(tmp_path)[0]
    assert len(every) == len(found) + 2
    counted = {record.directory for record in shifts.diagnosed(every)}
    assert len(counted) == len(found)
    assert none not in counted


def test_the_figure_shows_each_layer_and_each_mean(found):
    layers, runs = shifts.drawing(found).axes
    points = layers.lines[0]
    assert sorted(points.get_ydata()) == sorted(shift for measured, _ in SHIFTS.values() for shift in measured)
    np.testing.assert_allclose(points.get_xdata(), 1.1 * points.get_ydata())
    assert [text.get_text() for text in runs.get_yticklabels()] == ["wide", "conv-dropout-bn-relu"]
    np.testing.assert_allclose(runs.lines[0].get_xdata(), [6, 1.1])
    np.testing.assert_array_equal(np.round(runs.lines[0].get_ydata()), [1, 0])


def test_without_predictions_the_figure_has_the_means_alone(found, tmp_path):
    for record in found:
        diagnose(record.directory, (2.0, 2.0), (0.5, 0.5), predicted=None)
    (runs,) = shifts.drawing(found).axes
    assert len(runs.get_yticklabels()) == 2
    assert [path.name for path in curves.save(found, tmp_path)] == ["accuracy.png", "shift.png"]
    assert next(iter(shifts.tables(found).values()))["ResNet-14"].tolist() == ["2.00 [2.00, 2.00]", "2.00"]
