"""The numbers of the pages are those of the records."""

import json
import pathlib
import re

import numpy as np
import pytest
from pages import PAGES, TABLE, rows, words

import models
from benchmarks import table
from reporting import analysis, report, shifts
from training import records
from training.config import DataConfig
from training.data.known import KNOWN

SHOWN = [(page, *block) for page, text in PAGES.items() for block in re.findall(TABLE, text, re.DOTALL)]
# What the text says of the tables: page, folder of the records, words, and row and column of each number in them.
# A number of what is decided stands with its word, which the sentence must not contradict.
LAST, DROP, DECIDED = "last epoch", "more stable: largest drop", "better: last epoch"
UNIT_1 = "relu-ic-conv"
MEDIUM = "medium-conv-{}-seed0"
STABLE = [(f"{unit} less baseline", DROP, "smaller") for unit in (UNIT_1, "relu-bn-conv")]
SAID = [
    (
        "README.md",
        "results/overfit",
        "training is more stable with unit 1 of the paper: the largest fall of the test accuracy differs from the "
        "baseline's by {} (mean and 95% interval, three or four seeds). Batch normalization alone, in the same place, "
        "does that too: {}.",
        STABLE,
    ),
    (
        "docs/evidence.md",
        "results/overfit",
        "differs from the baseline's by {} with unit 1 and by {} with batch normalization alone in its place. Unit 1 "
        "ends lower than the baseline at rate 0.2, by {};",
        [*STABLE, (f"{UNIT_1}, rate 0.2 less baseline", DECIDED, "smaller")],
    ),
    (
        "docs/evidence.md",
        "results/overfit",
        "in the baseline's last epoch {} of the training images are right, augmented as it sees them, and {} of the",
        [("baseline", "training"), ("baseline", LAST)],
    ),
    (
        "docs/evidence.md",
        "results/orderings",
        "`conv-dropout-bn-relu` furthest (undecided: {}):",
        [("conv-dropout-bn-relu less baseline", DECIDED, "undecided")],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "the large one with everything is first, at {};",
        [("large-conv-bn-relu-dropout-augment-seed0", LAST)],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "Batch normalization ({}), dropout ({}) and both ({}) do not raise the accuracy of the medium network ({})",
        [
            (MEDIUM.format(f"{kind}no-augment"), LAST)
            for kind in ("bn-relu-", "relu-dropout-", "bn-relu-dropout-", "relu-")
        ],
    ),
    (
        "docs/evidence.md",
        "results/fashion-regularizers",
        "Shifts and flips lower the accuracy, alone ({}) and with both ({}),",
        [(MEDIUM.format(f"{kind}augment"), LAST) for kind in ("relu-", "bn-relu-dropout-")],
    ),
]


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """The tables of the report of a folder of records: the rows of each."""
    made = {}

    def tables(folder):
        if folder not in made:
            out = tmp_path_factory.mktemp("report")
            report.write(pathlib.Path(folder), out)
            text = (out / "report.md").read_text()
            made[folder] = [rows(part) for part in re.split(r"\n{2,}", text) if part.startswith("| ")]
        return made[folder]

    return tables


@pytest.mark.parametrize(("page", "folder", "text"), [shown for shown in SHOWN if shown[1].startswith("results/")])
def test_the_tables_are_of_the_report_of_the_records(page, folder, text, reported):
    """A page may leave out rows and columns."""
    shown = rows(text)

    def holds(table):
        seen = [{column: row.get(column) for column in shown[0]} for row in table]
        return [row for row in seen if row in shown] == shown

    assert any(map(holds, reported(folder)))


def test_the_accuracies_and_differences_in_the_text_are_those_of_the_tables(reported):
    cells = {
        (folder, next(iter(row.values())), column): cell
        for _, folder, *_ in SAID
        for table in reported(folder)
        for row in table
        for column, cell in row.items()
    }

    def number(folder, row, column, word=""):
        cell = cells[folder, row, column]
        assert cell.startswith(word), (row, column)
        return cell.removeprefix(f"{word}: ")

    texts = {page: words(page) for page in PAGES}
    for page, folder, said, places in SAID:
        sentence = said.format(*(number(folder, *place) for place in places))
        assert texts[page].count(sentence) == 1, sentence
        texts[page] = texts[page].replace(sentence, "")
    for page, text in texts.items():  # no other is left
        assert not re.findall(r"[+-]0\.\d{4} (?:±|\[)|(?<![+-])0\.[5-9]\d{3}", text), page


def test_the_seeds_that_are_needed_are_those_of_the_table(reported):
    (table,) = (table for table in reported("results") if "seeds for 0.005" in table[0])
    needed = [int(row["seeds for 0.005"].split()[0]) for row in table if row["setting"].startswith("cifar10")]
    assert f"| {min(needed)} to {max(needed)} for a difference of 0.005, by the spread on" in words("docs/evidence.md")


def test_the_speeds_are_those_that_were_recorded(capsys):
    table.show(pathlib.Path("benchmarks/results"))
    (shown,) = [text for _, folder, text in SHOWN if folder == "benchmarks/results"]
    assert shown == capsys.readouterr().out


def test_the_speeds_in_the_text_are_those_that_were_recorded():
    def ratio(of, to):
        return np.median(np.divide(of, to))

    results, text = pathlib.Path("benchmarks/results"), words("docs/speed.md")
    first, *others = map(json.loads, (results / "training.jsonl").read_text().splitlines())
    rates = first["images_per_second"]
    on = rates["tensorflow:on"]
    assert (
        f"ResNet-{first['depth']} with IC trains {ratio(on, rates['stock:on']):.1f} times as fast as with stock" in text
    )
    assert f"and {ratio(on, rates['torch-eager']):.1f} times as fast as the same network in PyTorch" in text
    assert f"they make ResNet-{first['depth']} train {ratio(on, rates['tensorflow:off']):.1f} times as fast" in text
    jax, torch = (
        next(record["images_per_second"] for record in others if record["contenders"][0] == backend)
        for backend in ("jax", "torch")
    )
    assert (
        f"On JAX it trains {ratio(jax['jax'], jax['stock@jax']):.1f} times as fast as with stock Keras layers" in text
    )
    assert f"on Keras' PyTorch {ratio(torch['torch'], torch['stock@torch']):.1f} times as fast, where it keeps" in text
    assert f"with PyTorch without Keras ({ratio(torch['torch'], torch['torch-eager']):.2f} times)" in text
    times = json.loads((results / "whitening.json").read_text())["milliseconds"]
    zca, ic = times["ZCA, eigenvectors"], times["IC"]
    assert f"at 16, ZCA takes {np.median(zca['16']):.1f} ms and IC {np.median(ic['16']):.1f})" in text
    assert f"at 1,024 IC is {ratio(zca['1024'], ic['1024']):.0f} times as fast" in text
    rates = json.loads((results / "photographs.json").read_text())["photographs_per_second"]
    left = ratio(rates["decoding and resizing"], rates["decoding"])
    assert f"resizing after it leaves {left:.1f} of its rate" in text


SHIFTED = {
    "that those have learned by factors of {},": ["conv-dropout-bn-relu"],
    "IC's by {},": ["relu-ic-conv"],
    "one dropout a branch by {} and": ["kim2023", "wide"],
    "in the places of the first two, by {};": ["conv uout bn | relu", "relu bn uout conv"],
}


def test_the_variance_shifts_in_the_text_are_those_that_were_recorded():
    families, short = (
        shifts.diagnosed(analysis.read_runs(pathlib.Path(f"results/{name}"))[0])
        for name in ("disharmony", "first-evidence")
    )
    layers, text = shifts.by_layer(families), words("docs/evidence.md")
    off = np.exp(abs(np.log(layers["measured"] / layers["predicted"])))
    half, most = (f"{100 * (off.quantile(share) - 1):.0f}%" for share in (0.5, 0.9))
    nothing = layers.loc[layers["predicted"] < 1.001, "measured"].max()
    assert f"Of the {len(layers):,} batch normalizations in {len(families)} trained networks, half are" in text
    assert f"half are predicted to within {half}, nine of ten to within {most}. Where it predicts 1," in text
    assert f"`diagnose` measures up to {nothing:.2f}:" in text
    runs = shifts.by_run(families).query("rate == 0.5").set_index(["ordering", "network"])
    means = np.exp(np.log(runs["measured"]).groupby(level=["ordering", "network"]).mean())
    for said, units in SHIFTED.items():
        assert said.format(f"{means.loc[units].min():.1f} to {means.loc[units].max():.1f}") in text
    ratios = shifts.ratios(families, "WRN-16-4", "WRN-16-1").query("rate == 0.5").set_index("ordering")
    wide, drop, ic = (
        "{ratio:.2f} [{low:.2f}, {high:.2f}]".format(**ratios.loc[unit])
        for unit in ("wide", "conv-dropout-bn-relu", "relu-ic-conv")
    )
    assert f"by the factor {wide} for `wide` and {ic} for `relu-ic-conv`: lower." in text
    assert f"For `conv-dropout-bn-relu` it is {drop}: higher." in text
    assert all(ratios.loc[["wide", "relu-ic-conv"], "high"] < 1)
    assert ratios.loc["conv-dropout-bn-relu", "low"] > 1
    assert set(ratios.loc[["wide", "relu-ic-conv", "conv-dropout-bn-relu"], "n"]) == {3}
    tables = {title: table.set_index("unit") for title, table in shifts.tables(families).items()}
    lower = {
        (rate, unit): re.findall(r"[\d.]+ \[.*\]|[\d.]+(?=\)$)", table.loc[f"`{unit}`", "WRN-16-1"])
        for rate in ("0.2", "0.1")
        for title, table in tables.items()
        if title.startswith("Variance") and title.endswith(f"rate {rate}")
        for unit in ("conv-dropout-bn-relu", "relu-ic-conv")
    }
    (a, e), (b, f), (c, g), (d, h) = (lower[key] for key in sorted(lower, key=lambda key: (key[1], -float(key[0]))))
    assert (
        f"shifts {a} at rate 0.2 and {b} at 0.1 (predicted {e} and {f}), `relu-ic-conv` {c} and {d} ({g} and {h})."
        in text
    )
    shift, gain = (table for title, table in tables.items() if title.endswith("rate 0.5"))
    units = ("conv uout bn | relu", "conv-dropout-bn-relu", "relu bn uout conv", "relu-ic-conv")
    a, b, c, d = (shift.loc[f"`{unit}`", "WRN-16-1"].partition(" (")[0] for unit in units)
    assert f"It shifts {a} where dropout shifts {b} (`{units[0]}` and `{units[1]}`, WRN-16-1)," in text
    assert f"{c} where IC's shifts {d} (`{units[2]}` and `{units[3]}`)." in text
    assert f"raise its accuracy by {gain.loc['`relu-ic-conv`', 'WRN-16-4']}." in text
    shift, gain = (
        table.set_index("unit").loc["`relu-ic-conv`", "ResNet-20"] for table in shifts.tables(short).values()
    )
    assert f"rate of 0.05 it is {shift} in ResNet-20, and they raise nothing ({gain}):" in text


def test_the_report_of_the_records_is_the_one_beside_them(tmp_path):
    report.write(pathlib.Path("results"), tmp_path)
    assert "Missing" in (tmp_path / "report.md").read_text()
    for path in tmp_path.iterdir():
        if path.suffix not in (".png", ".svg"):
            assert path.read_text() == (pathlib.Path("results") / path.name).read_text(), path.name


def test_every_record_is_that_of_a_finished_run_on_a_clean_commit():
    for folder in ("results", "benchmarks/results"):
        found, unreadable = analysis.read_runs(pathlib.Path(folder))
        assert not unreadable
        for record in found:
            assert (record.status, record.environment["dirty"]) == ("finished", False), record.directory


def test_the_table_of_orderings_is_the_one_that_is_built():
    rows = re.findall(r"^\| `([\w-]+)` \| `([^`]*)` \|", PAGES["docs/orderings.md"], re.MULTILINE)
    assert {name: ordering.replace("\\|", "|") for name, ordering in rows} == models.UNITS


def test_the_augmentation_is_that_of_the_data_sets():
    default, text = DataConfig(), words("docs/data.md")
    assert f"CIFAR {KNOWN['cifar10'].shift}, Fashion-MNIST {KNOWN['fashion_mnist'].shift}, digits" in text
    assert f"digits {KNOWN['digits'].shift}, any other set an eighth of the shorter side" in text
    assert KNOWN["cifar10"].shift == KNOWN["cifar100"].shift
    assert [name for name, known in KNOWN.items() if known.flip] == ["cifar10", "cifar100", "fashion_mnist"]
    for key in ("area", "aspect"):
        assert f"| `data.{key}` | {[round(value, 4) for value in getattr(default, key)]} |" in text
    assert f"| `data.image_size` | {default.image_size} |" in text


def test_the_parameters_are_those_of_the_networks(undrawn):
    text = words("docs/paper.md")
    for bottleneck, depth in ((False, 110), (False, 164), (True, 110), (True, 164)):
        model = models.cifar_resnet(depth, "baseline", bottleneck)
        count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        assert f"ResNet-{'B-' if bottleneck else ''}{depth} {count:,}" in text


def test_the_cost_is_what_the_records_say():
    for unit in ("baseline", "relu-ic-conv"):
        history = records.read_history(pathlib.Path(f"benchmarks/results/cost-cpu/resnet-110-{unit}-seed0"))
        speed = history["images_per_second"].iloc[-1]  # the first epoch has the tracing in it
        hours = f"{200 * 50_000 / speed / 3600:.0f}"
        text = words("docs/reproduce.md")
        assert f"{speed:.0f} (`{unit}`)" in text
        assert re.search(rf"200 epochs take (?:\d+ and )?{hours}\b", text)
        assert re.search(rf"\b{hours}(?: hours)? \(`{unit}`\)", words("README.md"))
        config = pathlib.Path("configs/table1.yaml").read_text().replace("\n#", "")
        assert re.search(rf"\b{hours} hours\s+\({unit}\)", config)


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
