"""What is averaged, paired and compared is what may be."""

import pandas
import pytest
from recorded import EPOCHS, UNITS, named, rising, write_run

from reporting import analysis, tables
from training import records
from training.errors import UserError

pytestmark = pytest.mark.usefixtures("one_environment")


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
    assert set(zip(rows["network"], rows["ordering"], rows["rate"], strict=True)) == {
        ("ResNet-14", "relu-ic-conv", 0.05),
        ("ResNet-14", "conv-relu-ic", 0.05),
    }
    assert set(rows["setting"]) == set(analysis.table(found)["setting"])


def test_a_unit_at_another_rate_is_another_unit_of_the_same_setting(runs):
    options = f"--train.epochs {EPOCHS} --train.drops [8] --seed 0 --model.rate"
    write_run(runs, rising(0.97), f"{options} 0.1 --model.unit relu-ic-conv")
    write_run(runs, rising(0.5), f"{options} 0.1 --model.unit relu-bn-conv")  # which has no rate
    table = analysis.table(analysis.read_runs(runs)[0])
    assert table["setting"].nunique() == 1
    units = analysis.by_unit(table).set_index("unit")
    assert list(units["n"][["relu-ic-conv", "relu-ic-conv, rate 0.1", "relu-bn-conv"]]) == [3, 1, 1]
    paired = analysis.paired(table).set_index(["unit", "less", "seed"])["last"]
    assert paired["relu-ic-conv, rate 0.1", "baseline", 0] == pytest.approx(0.97 - 0.90)
    assert paired["relu-ic-conv, rate 0.1", "relu-bn-conv", 0] == pytest.approx(0.97 - 0.50)


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


def test_seconds_of_different_devices_are_not_averaged(tmp_path, monkeypatch):
    for seed in (0, 1):
        monkeypatch.setattr(records, "environment", lambda seed=seed: {"devices": [f"gpu:{seed}"]})
        write_run(tmp_path, rising(0.9), f"--train.epochs {EPOCHS} --model.unit baseline --seed {seed}")
    found, _ = analysis.read_runs(tmp_path)
    (row,) = analysis.by_unit(analysis.table(found)).to_dict("records")
    assert (row["last"], row["epochs_to_0.8"]) == pytest.approx((0.9, 3))
    assert pandas.isna(row["seconds_to_0.8"])
    assert pandas.isna(row["seconds"])


@pytest.mark.parametrize(
    "kernels", [({"onednn": False}, {"onednn": True}, {}), ({"threads": 1}, {"threads": 2}, {"threads": 2})]
)
def test_runs_that_differ_in_kernels_alone_are_averaged_and_paired_but_their_seconds_are_not(
    kernels, tmp_path, monkeypatch
):
    for seed, own in enumerate(kernels):
        for unit, accuracy in (("baseline", 0.9), ("relu-ic-conv", 0.91)):
            state = {"backend": "tensorflow", "devices": ["cpu:0"]} | (own if unit == "baseline" else {})
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
    cell = "--model.bottleneck true --model.depth 110 --model.unit relu-ic-conv --data.name cifar10"
    for seed, last in ((0, 0.93), (1, 0.95)):
        write_run(tmp_path, [0.5] * 199 + [last], f"{cell} --seed {seed}", name="table1")
    write_run(tmp_path / "short", [0.5, 0.6], f"{cell} --seed 0 --train.epochs 2", name="table1")
    write_run(tmp_path / "part", [0.5], f"{cell} --seed 0 --train.epochs 1 --data.train_examples 9", name="table1")
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
    options = "--model.depth 110 --model.bottleneck false --model.unit baseline --data.name cifar10"
    write_run(tmp_path, rising(0.9), f"{options} --seed 0", name="table1")
    write_run(tmp_path, rising(0.1), f"{options} --seed 1", name="table1", images_sha256="1", genuine=False)
    found, _ = analysis.read_runs(tmp_path)
    table1 = analysis.table1(found)
    assert list(table1[table1["n"] > 0]["last"]) == [0.9]
    assert sorted(analysis.by_unit(analysis.table(found))["data"]) == ["cifar10", "cifar10 (other images)"]
    assert any(title.startswith("cifar10 (other images), ResNet-110") for title in tables.tables(tmp_path, found))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/data/birds", "birds"),
        ("./birds/", "birds"),
        ("~/birds of 2024", "birds of 2024"),
        ("arrays/birds.npz", "birds.npz"),
        ("../..", ".."),
        (".", "."),
        ("imagenette/160px-v2", "imagenette/160px-v2"),  # of TensorFlow Datasets
        ("svhn_cropped", "svhn_cropped"),
    ],
)
def test_a_path_is_named_by_its_last_part(name, short):
    setting = {"data.name": name, "data.train_examples": None, "images_genuine": True}
    assert analysis._images(setting) == short
    assert analysis._images(setting | {"data.train_examples": 9}) == f"{short} (9 images)"


def test_two_paths_with_one_last_part_are_two_settings_and_none_is_a_cell_of_table_1(tmp_path):
    options = "--seed 0 --model.depth 110 --model.bottleneck false --model.unit baseline --data.name"
    for i, name in enumerate(("/a/cifar10", "/b/cifar10", "cifar10")):
        write_run(tmp_path / str(i), rising(0.9), f"{options} {name}", name="table1", images_sha256=str(i))
    found, _ = analysis.read_runs(tmp_path)
    labels = analysis.by_unit(analysis.table(found))["setting"]
    assert labels.nunique() == 3
    assert all(label.startswith("cifar10, ResNet-110, 200 epochs, data.name ") for label in labels)
    assert list(analysis.table1(found)["n"]).count(1) == 1
