"""The text of tables, and names in them that have a meaning in Markdown, LaTeX or a figure."""

import io
import itertools
import pathlib
import re

import numpy as np
import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from models.units import Ordering
from reporting import curves, decisions, summary, tables
from training import records
from training.config import Config, flatten

EPOCHS = 12
SPECIAL = r"&%$#_{}~^\|<>[]()*!" + "aZ0 é"  # in names; what a folder cannot be called is left out
LATEX = {"backslash": "\\", "asciitilde": "~", "asciicircum": "^", "bar": "|", "less": "<", "greater": ">"}


def record(directory, status="finished", last=0.9, **config):
    """A record in memory; `model_unit` is the key model.unit."""
    accuracy = np.linspace(0.4, last, EPOCHS)
    history = pandas.DataFrame(
        {"epoch": range(1, EPOCHS + 1), "accuracy": 0.5, "val_accuracy": accuracy, "seconds": 2.0}
    )
    own = {"train.epochs": EPOCHS} | {key.replace("_", ".", 1): value for key, value in config.items()}
    result = {"status": status, "trainable_parameters": 1, "evaluated_images": 360}
    return records.Record(pathlib.Path(directory), flatten(Config().to_dict()) | own, {}, history, result)


@st.composite
def units(draw):
    """An ordering of one's own: any that can be built, with any white space."""
    space = st.text(" \t\n", min_size=1, max_size=2)
    tokens = st.lists(st.sampled_from(["bn", "dropout", "ic", "relu"]), max_size=3)
    parts = [draw(tokens), ["conv", *draw(tokens)]]
    parts += [[bar, *draw(tokens)] for bar in ("|", "||") if draw(st.booleans())]
    unit = "".join(word + draw(space) for part in parts for word in part)
    Ordering.parse(unit)
    return unit


def names():
    """Of folders and data sets."""
    return st.text(SPECIAL, max_size=12).map(lambda text: " ".join(f"a{text}z".split()))


def markdown_tables(text):
    """The tables of Markdown by the heading above them: rows of cells, as a reader sees them."""
    out, heading = {}, ""
    tokens = MarkdownIt().enable("table").parse(text)
    for before, token in itertools.pairwise(tokens):
        if token.type == "inline":
            seen = "".join(child.content for child in token.children)
            if before.type == "heading_open":
                heading = seen
            elif before.type in ("th_open", "td_open"):
                out[heading][-1].append(seen)
        elif token.type == "table_open":
            out[heading] = []
        elif token.type == "tr_open":
            out[heading].append([])
    return out


def plain(text):
    """What LaTeX prints: every special character is escaped, or this fails."""
    escape = r"\\text(\w+)\{\}|\\([&%$#_{}])|\{(\[)\}"
    assert not set(re.sub(escape, "", text)) & set("&%$#_{}~^\\|<>[")
    return re.sub(escape, lambda match: LATEX[match[1]] if match[1] else match[2] or match[3], text)


def latex_tables(text):
    """The tables of LaTeX by their caption: rows of cells."""
    out = {}
    for caption, body in re.findall(r"\\caption\{([^\n]*)\}\n.*?\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = body.replace("\\midrule\n", "").removesuffix("\n").split("\n")
        rows = [re.split(r"(?<!\\)&", line.removesuffix(r"\\")) for line in lines]
        out[plain(caption)] = [[plain(cell.strip()) for cell in row] for row in rows]
    return out


@settings(max_examples=20, deadline=None)
@example(unit="conv  bn |\trelu\n|| dropout", data="a_*b* [x](y) &amp; <z> $c$ {d}", folder="[e|_f]%#~^")
@given(unit=units(), data=names(), folder=names())
def test_every_unit_data_set_and_run_name_is_read_back_from_markdown_and_latex(unit, data, folder):
    shown = " ".join(unit.split())
    runs = [("baseline", 0, 0.8), ("baseline", 1, 0.85), (unit, 0, 0.9), (unit, 1, 0.92)]
    found = [
        record(f"runs/{folder}/{i}", model_unit=unit, seed=seed, last=last, data_name=data)
        for i, (unit, seed, last) in enumerate([*runs, (unit, 2, 0.5)])
    ]
    found.append(record(f"runs/{folder}/9", "interrupted", model_unit=unit, seed=2, data_name=data))
    titled = tables.tables(pathlib.Path("runs"), found)
    remarks = tables.notes(pathlib.Path("runs"), found, {pathlib.Path(f"runs/{folder}"): f"no {data}"})
    document = tables.markdown(titled, remarks, [])
    expected = {
        title: [list(text), *([cell.replace("`", "") for cell in row] for row in text.to_numpy())]
        for title, text in titled.items()
    }
    (setting,) = {title for title in titled if ":" not in title and title not in ("Seeds", "Runs")}
    assert setting.startswith(data)
    assert [row[0] for row in expected[setting]] == ["unit", "baseline", shown]
    assert expected["Runs"][1][0] == f"{folder}/0"
    assert markdown_tables(document) == expected
    assert latex_tables(tables.latex(titled)) == expected
    items = [token.children for token in MarkdownIt().parse(document) if token.type == "inline"]
    listed = ["".join(child.content for child in children) for children in items[-len(remarks) :]]
    assert f"{setting}: baseline has no seed 2." in listed
    assert f"{folder}: no {data}" in listed


def test_names_stand_in_the_figure_as_they_are():
    figure = curves.accuracy([record("a", model_unit="conv  |\trelu", data_name="$x_{$")])
    figure.savefig(io.BytesIO(), dpi=10)
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == "$x_{$, ResNet-110, 12 epochs"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["conv | relu"]


def test_a_decision_is_shown_with_its_interval_and_a_claim_that_has_no_number_as_a_dash():
    claims = {"mean": [0.010, 0.011, 0.012], "last": [0.1, 0.3, 0.2], "drop": np.nan}
    paired = pandas.DataFrame({"setting": "s", "unit": "a", "less": "b", **claims})
    shown = tables.decisions_table(
        decisions.decide(pandas.concat([paired, paired.iloc[:1].assign(unit="c", drop=0.5)]))
    )
    assert shown.to_dict("records") == [
        {
            "difference": "`a` less `b`",
            "n": "3",
            "faster: mean of all epochs": "larger: +0.0110 [+0.0085, +0.0135]",  # 4.303 standard errors either way
            "more stable: largest drop": "-",
            "better: last epoch": "undecided: +0.2000 [-0.0484, +0.4484]",
        },
        {
            "difference": "`c` less `b`",
            "n": "1",
            "faster: mean of all epochs": "undecided: +0.0100",
            "more stable: largest drop": "undecided: +0.5000",
            "better: last epoch": "undecided: +0.1000",
        },
    ]


def test_seeds_are_for_the_pooled_spread_and_for_the_widest_pair():
    last = {"a": [0.00, 0.01, 0.02], "c": [0.00, 0.04]}
    frames = [
        pandas.DataFrame({"setting": "s", "unit": unit, "less": "b", "mean": np.nan, "drop": np.nan, "last": values})
        for unit, values in last.items()
    ]
    (row,) = tables.seeds_table(decisions.decide(pandas.concat(frames))).to_dict("records")
    pooled = ((2 * 0.01**2 + 1 * 2 * 0.02**2) / 3) ** 0.5
    assert (row["pairs"], row["n"]) == ("2", "2 to 3")
    assert row["standard deviation"] == f"{pooled:.4f} (0.0100 to 0.0283)"
    needed = [decisions.seeds_needed(spread, 0.03) for spread in (pooled, 0.02 * 2**0.5)]
    assert row["seeds for 0.03"] == "{} ({})".format(*needed)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"data_name": "digits"}, False),
        ({"data_name": "cifar10", "model_depth": 20}, False),
        ({"data_name": "cifar10", "model_depth": 110}, False),  # a cell, and finished
        ({"data_name": "cifar10", "model_depth": 110, "status": "interrupted"}, True),
        ({"data_name": "cifar100", "model_depth": 164, "data_train_examples": 1000}, True),
    ],
)
def test_that_table_1_has_no_run_is_told_where_a_run_is_of_its_data_and_networks(own, told):
    notes = tables.notes(pathlib.Path(), [record("a", model_unit="relu-ic-conv", **own)], {})
    assert any("no finished run of any of its 32 cells" in note for note in notes) == told


def test_a_figure_says_what_a_band_is_where_there_is_one():
    seeds = [record(f"{seed}", seed=seed, data_name="digits") for seed in (0, 1)]
    one, two = curves.accuracy([*seeds, record("c", data_name="cifar10")]).axes
    assert (one.get_title(loc="left")[:7], len(one.collections), one.get_ylabel()) == ("cifar10", 0, "test accuracy")
    assert len(two.collections) == 1
    assert two.get_ylabel() == "test accuracy\nline: mean, band: lowest to highest seed"


def test_the_differences_are_those_to_the_baseline_of_the_same_seed():
    lasts = {"baseline": (0.8, 0.7), "relu-ic-conv": (0.9, 0.9), "relu-bn-conv": (0.6, None)}
    found = [
        record(f"{unit}{seed}", model_unit=unit, seed=seed, last=last)
        for unit, seeds in lasts.items()
        for seed, last in enumerate(seeds)
        if last
    ]
    alone = [
        record("no baseline of this seed", model_unit="ic conv", seed=7),
        record("no baseline of this setting", model_unit="relu-ic-conv", data_name="digits"),
        record("not finished", "diverged", model_unit="conv-relu-ic"),
    ]
    (axis,) = curves.differences([*alone, *found]).axes
    ends = {line.get_label(): line.get_ydata()[-1] for line in axis.lines}
    means = {"baseline (2 seeds)": 0, "relu-ic-conv (2 seeds)": 0.15, "relu-bn-conv": -0.2}
    assert ends == pytest.approx(means)
    band = axis.collections[1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0, 0.2))


@pytest.mark.parametrize(
    ("units", "seeds", "drawn"),
    [
        ([], 1, []),
        (["relu-ic-conv"], 2, ["accuracy"]),
        (["relu-ic-conv", "baseline"], 1, ["accuracy", "differences"]),
        (["relu-ic-conv", "baseline"], 2, ["accuracy", "differences", "decisions"]),
        (["relu-ic-conv", "relu-bn-conv"], 2, ["accuracy", "decisions", "parts"]),
    ],
)
def test_there_is_a_picture_where_there_is_something_to_draw(units, seeds, drawn, tmp_path):
    found = [
        record(f"{unit}{seed}", model_unit=unit, seed=seed, last=0.9 - 0.1 * seed**place)
        for place, unit in enumerate(units)
        for seed in range(seeds)
    ]
    paths = curves.save(found, tmp_path)
    assert [path.stem for path in paths] == drawn
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_a_grid_ends_with_the_means_of_units_that_have_two_seeds_or_more(monkeypatch, capsys, tmp_path):
    runs = [("baseline", 0, 0.8), ("relu-ic-conv", 0, 0.9), ("relu-ic-conv", 1, 0.92), ("relu-ic-conv", 2, 0.1)]
    found = {}
    for unit, seed, last in runs:
        directory = tmp_path / f"[red]{unit}-seed{seed}"  # no markup
        directory.mkdir()
        (directory / "result.json").touch()
        status = "diverged" if seed == 2 else "finished"
        found[directory] = record(directory, status, model_unit=unit, seed=seed, last=last, data_name="digits")
    monkeypatch.setattr(records, "read", found.get)
    summary.show(list(found))
    each, means = capsys.readouterr().out.split("Means: ")
    assert "[red]relu-ic-conv-seed2 (diverged)" in each
    title, *rows = [" ".join(line.split()) for line in means.splitlines()]
    assert title == "digits, ResNet-110, 12 epochs"
    assert any(row.startswith("baseline 1 0.8000 0.8000 ") for row in rows)
    assert any(row.startswith("relu-ic-conv 2 0.9100 ± 0.0141 ") for row in rows)
    summary.show([directory for directory in found if "seed0" in directory.name])
    assert "Means" not in capsys.readouterr().out
