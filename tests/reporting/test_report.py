"""The report says what the run directories say, and what they do not."""

import shutil

import pandas
import pytest

from reporting import analysis, curves, report, tables
from training import cli, records
from training.errors import UserError

UNITS = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
EPOCHS = 12


@pytest.fixture(autouse=True)
def _one_environment(monkeypatch):
    """Says at once where the runs ran, for that asks git each time."""
    monkeypatch.setattr(records, "environment", lambda: {"backend": "tensorflow", "devices": ["cpu:0"]})


def write_run(
    out, accuracies, options="", status="finished", seconds=2.0, name="digits", images_sha256="0", genuine=True
):
    """A run directory as training writes it, with these test accuracies."""
    (run,), _ = cli.load(["--config", f"configs/{name}.yaml", "--out", str(out), *options.split()])
    run.checkpoints.mkdir(parents=True)
    records.start(run, 0, images_sha256, genuine=genuine)
    rows = [
        {"epoch": epoch, "learning_rate": 0.001, "loss": 1, "accuracy": 0.5, "val_loss": 1, "val_accuracy": accuracy}
        | {"seconds": seconds, "images_per_second": 100}
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    records.write_history(
        run.directory,
        records.history_header(run.config) + "".join(records.history_row(run.config, row) for row in rows),
    )
    if status != "unfinished":
        facts = {"trainable_parameters": 1234, "evaluated_images": 360}
        where = {"diverged_at": {"epoch": 4, "step": 17}} if status == "diverged" else {}
        records.write_result(run.directory, status, **facts, **where)
    return run.directory


def named(unit, seed):
    """The directory of one of `runs`."""
    return f"{unit}-epochs-{EPOCHS}-drops-8-seed{seed}"


def rising(last, dip=0.0):
    """Twelve accuracies: 0.4, 0.6, then `last` with a dip in epoch 4."""
    return [0.4, 0.6, last, last - dip, *[last] * (EPOCHS - 4)]


@pytest.fixture
def runs(tmp_path):
    """Four units with three seeds, but that (unit 2, seed 2) diverged and (unit 3, seed 1) is under way."""
    lasts = {
        "baseline": (0.90, 0.92, 0.94),
        "relu-ic-conv": (0.95, 0.94, 0.96),
        "ic-conv-relu": (0.91, 0.95, None),
        "conv-relu-ic": (0.80, None, 0.90),
    }
    for unit, values in lasts.items():
        for seed, last in enumerate(values):
            options = f"--train.epochs {EPOCHS} --train.drops [8] --model.unit {unit} --seed {seed}"
            if last is not None:
                write_run(tmp_path, rising(last, dip=0.02 if unit == "baseline" else 0), options)
            elif seed == 2:
                write_run(tmp_path, [0.4, 0.6, 0.99], options, "diverged")
            else:
                write_run(tmp_path, [0.4, 0.99], options, "unfinished")
    return tmp_path / "digits"


def test_four_units_by_three_seeds_are_what_one_finds_by_hand(runs):
    found, unreadable = analysis.read_runs(runs)
    assert (len(found), unreadable) == (12, {})
    table = analysis.table(found)
    units = analysis.by_unit(table).set_index("unit")
    assert list(units.index) == list(UNITS)
    assert list(units["n"]) == [3, 3, 2, 2]
    assert list(units["last"]) == pytest.approx([0.92, 0.95, 0.93, 0.85])
    assert list(units["last_std"]) == pytest.approx([0.02, 0.01, 0.02828427, 0.07071068])
    # the last ten epochs are `last` nine times and `last` - 0.02 once: standard deviation 0.02 / sqrt(10)
    assert list(units["spread"]) == pytest.approx([0.00632456, 0, 0, 0], abs=1e-8)
    assert list(units["last_ten"]) == pytest.approx([0.92 - 0.002, 0.95, 0.93, 0.85])
    assert list(units["drop"]) == pytest.approx([0.02, 0, 0, 0])
    assert list(units["epochs_to_0.6"]) == [2, 2, 2, 2]
    assert list(units["epochs_to_0.8"]) == [3, 3, 3, 3]
    assert list(units["seconds_to_0.8"]) == pytest.approx([6, 6, 6, 6])
    assert list(units["epochs_to_0.95_n"]) == [0, 2, 1, 0]
    assert list(units["seconds"]) == pytest.approx([24, 24, 24, 24])
    paired = analysis.paired(table).set_index(["unit", "seed"])["last"]
    assert dict(paired) == pytest.approx(
        {
            ("relu-ic-conv", 0): 0.05,
            ("relu-ic-conv", 1): 0.02,
            ("relu-ic-conv", 2): 0.02,
            ("ic-conv-relu", 0): 0.01,
            ("ic-conv-relu", 1): 0.03,
            ("conv-relu-ic", 0): -0.10,
            ("conv-relu-ic", 2): -0.04,
        }
    )


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
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 5
    assert "relu-ic-conv & 3 & 0 1 2 & 0.9500 ± 0.0100" in latex
    assert "`" not in latex
    numbers = pandas.read_csv(runs / "units.csv").set_index("unit")
    assert numbers.loc["relu-ic-conv", "last"] == pytest.approx(0.95)
    assert list(pandas.read_csv(runs / "runs.csv")["status"].value_counts()) == [10, 1, 1]
    assert (runs / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (runs / "accuracy.svg").read_text()


def test_what_normalization_and_dropout_add_is_told_with_its_standard_error(tmp_path):
    lasts = {
        "baseline": (0.90, 0.92),
        "relu-ic-conv": (0.95, 0.94),
        "relu-bn-conv": (0.93, 0.94),
        "relu-dropout-conv": (0.70, None),
    }
    for unit, values in lasts.items():
        for seed, last in enumerate(values):
            if last is not None:
                options = f"--train.epochs {EPOCHS} --train.drops [8] --model.unit {unit} --seed {seed}"
                late = [0.4, 0.6, 0.65, last, last - 0.05, *[last] * (EPOCHS - 5)]
                write_run(tmp_path, late if unit == "relu-dropout-conv" else rising(last), options)
    accuracy, *_, differences, _ = tables.tables(tmp_path, analysis.read_runs(tmp_path)[0]).values()
    assert accuracy["less baseline, by seed"][1] == "0: +0.0500, 1: +0.0200"
    rows = differences.set_index("difference")
    assert list(rows.index) == [
        *(f"`{unit}` less `baseline`" for unit in ("relu-ic-conv", "relu-bn-conv", "relu-dropout-conv")),
        *(f"`relu-ic-conv` less `{unit}`" for unit in ("relu-bn-conv", "relu-dropout-conv")),
    ]
    assert list(rows["n"]) == ["2", "2", "1", "2", "1"]
    assert list(rows["epochs to 0.7"]) == ["+0.0 ± 0.0", "+0.0 ± 0.0", "+1.0", "+0.0 ± 0.0", "-1.0"]  # all got so far
    assert "epochs to 0.8" not in rows
    assert list(rows["last epoch"]) == [
        "+0.0350 ± 0.0150",
        "+0.0250 ± 0.0050",
        "-0.2000",
        "+0.0100 ± 0.0100",
        "+0.2500",
    ]
    one, other = 0.4 + 0.6 + 10 * 0.95, 0.4 + 0.6 + 0.65 + 9 * 0.70 - 0.05
    assert rows["mean of all epochs"].iloc[-1] == f"+{(one - other) / 12:.4f}"
    assert rows["largest drop"].iloc[-1] == "-0.0500"


def test_diagnostics_of_runs_are_read_with_their_unit_and_seed(runs):
    found, _ = analysis.read_runs(runs)
    with pytest.raises(UserError, match=r"diagnostics\.csv"):
        analysis.diagnostics(found)
    for unit, seed, shift in (("conv-relu-ic", 0, 1.1), ("relu-ic-conv", 2, 1.5), ("relu-ic-conv", 1, 1.4)):
        (runs / named(unit, seed) / "diagnostics.csv").write_text(f"layer,variance_shift\nstem,{shift}\n")
    rows = analysis.diagnostics(found)
    assert list(zip(rows["unit"], rows["seed"], rows["variance_shift"], strict=True)) == [
        ("relu-ic-conv", 1, 1.4),
        ("relu-ic-conv", 2, 1.5),
        ("conv-relu-ic", 0, 1.1),
    ]


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


def test_a_unit_at_another_rate_is_another_unit_of_the_same_setting(runs):
    options = f"--train.epochs {EPOCHS} --train.drops [8] --seed 0 --model.rate"
    write_run(runs, rising(0.97), f"{options} 0.1 --model.unit relu-ic-conv")
    write_run(runs, rising(0.5), f"{options} 0.1 --model.unit relu-bn-conv")  # which has no rate
    table = analysis.table(analysis.read_runs(runs)[0])
    assert table["setting"].nunique() == 1
    units = analysis.by_unit(table).set_index("unit")
    assert list(units["n"][["relu-ic-conv", "relu-ic-conv, rate 0.1", "relu-bn-conv"]]) == [3, 1, 1]
    paired = analysis.paired(table).set_index(["unit", "seed"])["last"]
    assert paired["relu-ic-conv, rate 0.1", 0] == pytest.approx(0.97 - 0.90)


@pytest.mark.parametrize(
    "other", ["--train.epochs 11", "--train.global_batch_size 32", "--data.train_examples 1000", "--data.augment false"]
)
def test_what_is_not_comparable_is_not_averaged(other, runs, tmp_path):
    before = analysis.by_unit(analysis.table(analysis.read_runs(runs)[0]))
    options = f"--train.epochs {EPOCHS} --train.drops [8] --model.unit baseline --seed 7 {other}"
    write_run(tmp_path / "digits" / "other", rising(0.5)[: 11 if "epochs" in other else 12], options)
    found, _ = analysis.read_runs(runs)
    units = analysis.by_unit(analysis.table(found))
    assert units["setting"].nunique() == 2
    old = units[units["seeds"].str.contains("0")].set_index("unit")
    assert list(old["last"]) == list(before["last"])
    assert list(old["n"]) == [3, 3, 2, 2]
    assert any(other.split()[0].strip("-") in note for note in tables.notes(runs, found, {}))


def test_runs_on_other_images_are_not_averaged(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, rising(0.9), f"--model.unit baseline --seed {seed}", images_sha256=str(seed))
    assert list(analysis.by_unit(analysis.table(analysis.read_runs(tmp_path)[0]))["n"]) == [1, 1]


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


def test_seconds_of_different_devices_are_not_averaged(tmp_path, monkeypatch):
    for seed in (0, 1):
        monkeypatch.setattr(records, "environment", lambda seed=seed: {"devices": [f"gpu:{seed}"]})
        write_run(tmp_path, rising(0.9), f"--train.epochs {EPOCHS} --model.unit baseline --seed {seed}")
    found, _ = analysis.read_runs(tmp_path)
    (row,) = analysis.by_unit(analysis.table(found)).to_dict("records")
    assert (row["last"], row["epochs_to_0.8"]) == pytest.approx((0.9, 3))
    assert pandas.isna(row["seconds_to_0.8"])
    assert pandas.isna(row["seconds"])


def test_runs_that_differ_in_onednn_alone_are_averaged_and_paired_but_their_seconds_are_not(tmp_path, monkeypatch):
    for seed, onednn in ((0, {"onednn": False}), (1, {"onednn": True}), (2, {})):
        for unit, accuracy in (("baseline", 0.9), ("relu-ic-conv", 0.91)):
            state = {"backend": "tensorflow", "devices": ["cpu:0"]} | (onednn if unit == "baseline" else {})
            monkeypatch.setattr(records, "environment", lambda state=state: state)
            write_run(tmp_path, rising(accuracy), f"--train.epochs {EPOCHS} --model.unit {unit} --seed {seed}")
    found, _ = analysis.read_runs(tmp_path)
    table = analysis.table(found)
    assert table["setting"].nunique() == 1
    units = analysis.by_unit(table).set_index("unit")
    assert list(units["n"]) == [3, 3]
    assert list(units["seconds"].isna()) == [True, False]  # without the entry it was on
    assert list(analysis.paired(table)["last"]) == pytest.approx([0.01] * 3)


def test_table_1_stands_beside_the_papers_with_what_is_missing(tmp_path):
    cell = "--model.bottleneck true --model.depth 110 --model.unit relu-ic-conv"
    for seed, last in ((0, 0.93), (1, 0.95)):
        write_run(tmp_path, [0.5] * 199 + [last], f"{cell} --seed {seed}", name="table1-cifar10")
    write_run(tmp_path / "short", [0.5, 0.6], f"{cell} --train.epochs 2", name="table1-cifar10")
    write_run(tmp_path / "part", [0.5], f"{cell} --train.epochs 1 --data.train_examples 9", name="table1-cifar10")
    found, _ = analysis.read_runs(tmp_path)
    table = analysis.table1(found)
    paper = pandas.read_csv("results/paper_table1.csv")
    assert len(table) == 2 * len(paper) + 1 == 33  # one cell in two settings
    assert sorted(table.drop_duplicates(["data", "network", "unit"])["paper"]) == sorted(
        [*paper["cifar10"], *paper["cifar100"]]
    )
    ours = table[table["n"] > 0].sort_values("epochs")
    assert set(ours[["data", "network", "unit"]].itertuples(index=False, name=None)) == {
        ("cifar10", "ResNet-B-110", "relu-ic-conv")
    }
    assert list(ours["paper"]) == [0.9448, 0.9448]
    assert list(ours["epochs"]) == [2, 200]
    assert list(ours["n"]) == [1, 2]
    assert list(ours["last"]) == pytest.approx([0.6, 0.94])
    assert ours["difference"].iloc[1] == pytest.approx(0.94 - 0.9448)
    assert pandas.isna(ours["difference"].iloc[0])
    assert list(ours["other"]) == ["train.epochs 2", ""]
    text = tables.tables(tmp_path, found)["Table 1"]
    assert list(text[text["n"] == "2"].iloc[0]) == (
        ["cifar10", "ResNet-B-110", "`relu-ic-conv`", "0.9448", "0.9400 ± 0.0141", "-0.0048", "2", "200", "-"]
    )
    assert (text["ours"] == "-").sum() == 31


def test_images_that_only_bear_the_name_are_of_no_cell_and_are_not_averaged_with_others(tmp_path):
    options = "--model.depth 110 --model.bottleneck false --model.unit baseline"
    write_run(tmp_path, rising(0.9), f"{options} --seed 0", name="table1-cifar10")
    write_run(tmp_path, rising(0.1), f"{options} --seed 1", name="table1-cifar10", images_sha256="1", genuine=False)
    found, _ = analysis.read_runs(tmp_path)
    table1 = analysis.table1(found)
    assert list(table1[table1["n"] > 0]["last"]) == [0.9]
    assert sorted(analysis.by_unit(analysis.table(found))["data"]) == ["cifar10", "cifar10 (other images)"]
    assert any(title.startswith("cifar10 (other images), ResNet-110") for title in tables.tables(tmp_path, found))


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
    assert left == ["paired.csv", "report.md", "runs.csv", "table1.csv", "tables.tex", "units.csv"]


def test_runs_on_a_part_of_the_images_alone_make_a_report_too(tmp_path, capsys):
    write_run(tmp_path, [0.5], "--model.unit baseline --train.epochs 1 --train.drops [] --data.train_examples 9")
    assert report.main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "digits (9 images)" in text
