"""What the README says is what happens."""

import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import iclayer
import models
from benchmarks import table
from reporting import analysis, report
from training import cli, records
from training.config import DataConfig
from training.data import sources

README = pathlib.Path("README.md").read_text()


def test_the_ten_lines_work_where_only_the_package_is_installed(tmp_path):
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    assert len(code.strip().splitlines()) <= 10
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(tmp_path / "site"), "."], check=True)
    assert {path.name.split("-")[0] for path in (tmp_path / "site").iterdir()} == {"iclayer"}
    (tmp_path / "mine.py").write_text(
        f"{code}\nprint(iclayer.__file__)\nprint([type(layer).__name__ for layer in model.layers])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, layers = done.stdout.splitlines()
    assert file.startswith(str(tmp_path / "site"))
    one = ["IC", "Conv2D"]
    assert layers == str(["InputLayer", *one * 3, "GlobalAveragePooling2D", "IC", "Dense"])


def test_the_examples_for_networks_that_exist_work(tmp_path, monkeypatch):
    _, insert, look, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"keras": keras, "iclayer": iclayer}
    exec(insert.replace("weights=None", "weights=None, input_shape=(32, 32, 3), classes=4"), names)
    assert sum(isinstance(layer, iclayer.IC) for layer in names["model"].layers) == 54
    names["model"] = keras.Sequential([keras.Input((8,)), iclayer.IC(), keras.layers.Dense(4, "softmax")])
    names |= {"images": np.random.default_rng(0).random((20, 8)), "labels": np.arange(20) % 4}
    exec(look, names)
    assert pathlib.Path("diagnostics.png").stat().st_size > 10_000


def test_the_example_for_a_trained_model_works(train):
    assert train("--train.epochs 6 --train.drops [5]")[0] == 0
    *_, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    path = "runs/digits/relu-ic-conv-seed0/checkpoints/model.keras"
    assert path in code
    digits = sources.load(DataConfig("digits"))
    names = {"images": digits.test_images}
    exec(code.replace(path, str(train.only() / "checkpoints" / "model.keras")), names)
    assert (names["classes"] == digits.test_labels).mean() > 0.8


def test_the_example_of_a_grid_is_the_runs_that_it_promises(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    runs, _ = cli.load(["--config", str(tmp_path / "mine.yaml")])
    names = {str(run.directory) for run in runs}
    assert len(names) == 3 + 2 * 2 * 3
    assert {"runs/mine/baseline-seed2", "runs/mine/ic-relu-conv-rate-0.1-seed0"} <= names


def test_the_layer_is_there_in_every_folder(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = "import iclayer; print(iclayer.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == iclayer.__file__


def test_every_file_and_folder_that_it_names_is_there():
    named = re.findall(r"`(\w+/[\w./-]*|\w+\.(?:py|txt))`|\]\(([\w./-]+)\)", README)
    assert len(named) > 10
    for code, link in named:
        assert pathlib.Path(code or link).exists(), code or link


def test_every_config_and_make_target_that_it_names_is_there():
    makefile = pathlib.Path("Makefile").read_text()
    for target in re.findall(r"\bmake (?:\w+=\w+ )?([a-z][\w-]+)", README):
        assert re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", makefile, re.MULTILINE), target
    files = [path for kind in ("*.py", "configs/*.yaml", "benchmarks/*.py") for path in pathlib.Path().glob(kind)]
    texts = [README, *(path.read_text() for path in files)]
    for path in re.findall(r"configs/[\w-]+\.yaml", "".join(texts)):
        assert pathlib.Path(path).exists(), path


@pytest.mark.parametrize("folder", sorted(set(re.findall("<!-- (results/.*) -->", README))))
def test_the_tables_are_what_the_report_of_the_records_says(folder, tmp_path):
    shown = re.findall(rf"<!-- {folder} -->\n(.*?)<!-- /{folder} -->", README, re.DOTALL)
    assert len(shown) == README.count(f"<!-- {folder} -->")
    report.write(pathlib.Path(folder), tmp_path)
    for part in shown:
        assert part.startswith("| ")
        assert part in (tmp_path / "report.md").read_text()


TABLE = r"<!-- (results/.*) -->\n(.*?)<!-- /\1 -->"
# What the text says of the tables: the folder of the records, the words, and row and column of each number in them.
MEAN, SPREAD, DROP, LAST = "mean of all epochs", "standard deviation of the last ten", "largest drop", "last epoch"
UNIT_1, UNIT_2, UNIT_3 = "relu-ic-conv", "ic-conv-relu", "conv-relu-ic"
MEDIUM = "medium-conv-{}-seed0"
SAID = [
    (
        "results/first-evidence",
        "units 1 and 2 are ahead of the baseline in both seeds, by {} and {}; unit 3 hardly, by {}.",
        [(f"{unit} less baseline", MEAN) for unit in (UNIT_1, UNIT_2, UNIT_3)],
    ),
    (
        "results/first-evidence",
        "Unit 1's largest fall between epochs differs by {}, and its standard deviation over the last ten epochs, when "
        "the learning rate is low, by {};",
        [(f"{UNIT_1} less baseline", column) for column in (DROP, SPREAD)],
    ),
    (
        "results/first-evidence",
        "**A better end?** Perhaps: {}, {} and {} for units 1, 2 and 3,",
        [(f"{unit} less baseline", LAST) for unit in (UNIT_1, UNIT_2, UNIT_3)],
    ),
    (
        "results/first-evidence",
        "which has no dropout, is ahead of the baseline by {} in the mean of all epochs and by {} at the end.",
        [("relu-bn-conv less baseline", column) for column in (MEAN, LAST)],
    ),
    (
        "results/first-evidence",
        "which adds it to `relu-bn-conv`, differs from that by {} in the mean of all epochs and by {} at the end.",
        [(f"{UNIT_1} less relu-bn-conv", column) for column in (MEAN, LAST)],
    ),
    (
        "results/first-evidence",
        "`relu-dropout-conv` differs from the baseline by {} and {},",
        [("relu-dropout-conv less baseline", column) for column in (MEAN, LAST)],
    ),
    (
        "results/orderings",
        "`conv-dropout-bn-relu` furthest ({}):",
        [("conv-dropout-bn-relu", "mean ± standard error")],
    ),
    (
        "results/fashion-regularizers",
        "the large one with everything is first, at {};",
        [("large-conv-bn-relu-dropout-augment-seed0", LAST)],
    ),
    (
        "results/fashion-regularizers",
        "Batch normalization ({}), dropout ({}) and both ({}) do not raise the accuracy of the medium network ({})",
        [
            (MEDIUM.format(f"{kind}no-augment"), LAST)
            for kind in ("bn-relu-", "relu-dropout-", "bn-relu-dropout-", "relu-")
        ],
    ),
    (
        "results/fashion-regularizers",
        "Shifts and flips lower the accuracy, alone ({}) and with both ({}),",
        [(MEDIUM.format(f"{kind}augment"), LAST) for kind in ("relu-", "bn-relu-dropout-")],
    ),
]


def cells():
    """The text of each cell of a README's table, by folder of the records, row and column."""
    found = {}
    for folder, block in re.findall(TABLE, README, re.DOTALL):
        lines = block.replace("`", "").strip().splitlines()
        header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
        for row in rows:
            found |= {(folder, row[0], column): text for column, text in zip(header, row, strict=True)}
    return found


def test_the_accuracies_and_differences_in_the_text_are_those_of_the_tables():
    text, shown = " ".join(re.sub(TABLE, "", README, flags=re.DOTALL).split()), cells()
    for folder, words, places in SAID:
        said = words.format(*(shown[folder, *place] for place in places))
        assert text.count(said) == 1, said
        text = text.replace(said, "")
    assert not re.findall(r"[+-]0\.\d{4} ± 0\.\d{4}|(?<![+-])0\.[5-9]\d{3}", text)  # no other is left


def test_the_speeds_are_those_that_were_recorded(capsys):
    table.main()
    shown = re.search(r"<!-- benchmarks/results -->\n(.*?)<!-- /benchmarks/results -->", README, re.DOTALL)
    assert shown.group(1) == capsys.readouterr().out


def test_the_speeds_in_the_text_are_those_that_were_recorded():
    def ratio(of, to):
        return np.median(np.divide(of, to))

    results, text = pathlib.Path("benchmarks/results"), " ".join(README.split())
    first, *_ = map(json.loads, (results / "training.jsonl").read_text().splitlines())
    on, off = (first["images_per_second"][f"tensorflow:{state}"] for state in ("on", "off"))
    assert f"they make ResNet-{first['depth']} train {ratio(on, off):.1f} times as fast" in text
    times = json.loads((results / "whitening.json").read_text())["milliseconds"]
    zca, ic = times["ZCA, eigenvectors"], times["IC"]
    assert f"at 16, ZCA takes {np.median(zca['16']):.1f} ms and IC {np.median(ic['16']):.1f})" in text
    assert f"at 1,024 IC is {ratio(zca['1024'], ic['1024']):.0f} times as fast" in text
    rates = json.loads((results / "photographs.json").read_text())["photographs_per_second"]
    left = ratio(rates["decoding and resizing"], rates["decoding"])
    assert f"resizing after it leaves {left:.1f} of its rate" in text


def test_the_report_of_the_records_is_the_one_beside_them(tmp_path):
    report.write(pathlib.Path("results"), tmp_path)
    assert "Missing" in (tmp_path / "report.md").read_text()
    for path in tmp_path.iterdir():
        if path.suffix not in (".png", ".svg"):
            assert path.read_text() == (pathlib.Path("results") / path.name).read_text(), path.name


def test_every_record_is_that_of_a_finished_run_on_a_clean_commit():
    found, unreadable = analysis.read_runs(pathlib.Path("results"))
    assert not unreadable
    for record in found:
        assert (record.status, record.environment["dirty"]) == ("finished", False), record.directory


def test_the_table_of_orderings_is_the_one_that_is_built():
    rows = re.findall(r"^\| `([\w-]+)` \| `([^`]*)` \|", README, re.MULTILINE)
    assert {name: ordering.replace("\\|", "|") for name, ordering in rows} == models.UNITS


@pytest.mark.parametrize("unit", ["baseline", "relu-ic-conv"])
def test_momentum_alone_does_not_change_the_training(unit, train):
    config = f"model: {{network: plain, size: small, unit: {unit}}}\ntrain: {{epochs: 2, drops: []}}\n"
    assert train(config=f"{config}grid: {{model.momentum: [0.99, 0.9]}}\n")[0] == 0
    slow, fast = (records.read_history(path.parent) for path in train.runs.glob("*/history.csv"))
    assert list(slow["loss"]) == list(fast["loss"])
    assert list(slow["val_loss"]) != list(fast["val_loss"])


def test_the_cost_is_what_the_records_say():
    for unit in ("baseline", "relu-ic-conv"):
        history = records.read_history(pathlib.Path(f"benchmarks/results/cost-cpu/resnet-110-{unit}-seed0"))
        speed = history["images_per_second"].iloc[-1]  # the first epoch has the tracing in it
        assert f"{speed:.0f} (`{unit}`)" in README
        for text in (README, pathlib.Path("configs/table1-cifar10.yaml").read_text()):
            assert f"{200 * 50_000 / speed / 3600:.0f}" in text.split("200 epochs", 1)[1]


def test_the_cost_of_ilsvrc2012_is_what_the_records_say():
    histories = [
        records.read_history(path.parent)
        for path in pathlib.Path("benchmarks/results/imagenet-sample").glob("*/history.csv")
    ]
    speeds = [history["images_per_second"].iloc[-1] for history in histories]
    assert len(speeds) == 6
    text = pathlib.Path("configs/imagenet.yaml").read_text()
    assert f"{min(speeds)} to {max(speeds)} images a second" in text
    days = [90 * 1_281_167 / speed / 86_400 for speed in (max(speeds), min(speeds))]
    assert "{:.0f} to\n#           {:.0f} days".format(*days) in text
