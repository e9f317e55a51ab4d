"""Configs, grids and what the command line overrides."""

import math
import pathlib

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import train_cifar
from training import cli, config
from training.errors import UserError

CONFIGS = sorted(pathlib.Path("configs").glob("*.yaml"))


def test_without_a_config_the_defaults_are_the_papers():
    (run,), _ = cli.load([])
    train, model = run.config.train, run.config.model
    assert (train.optimizer, train.global_batch_size, train.epochs) == ("adam", 64, 200)
    assert (train.learning_rate, train.drops, model.rate) == (0.001, [80, 120, 160], 0.05)
    assert str(run.directory) == "runs/default/seed0"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_says_source_command_cost_and_expectation(path):
    runs, _ = cli.load(["--config", str(path)])
    assert len({run.directory for run in runs}) == len(runs)
    for word in ("# Source", "# Command", "# Cost", "# Expect"):
        assert word in path.read_text()
    assert f"--config {path}" in path.read_text()


def test_table_1_has_its_32_cells():
    runs = cli.load(["--config", "configs/table1.yaml"])[0]
    assert [run.config.seed for run in runs] == [seed for seed in range(3) for _ in range(32)]
    cells = [run.config for run in runs if run.config.seed == 0]
    table = pathlib.Path("results/paper_table1.csv").read_text().splitlines()[1:]
    printed = {(data, *row.split(",")[:3]) for row in table for data in ("cifar10", "cifar100")}
    assert {
        (cell.data.name, "resnet-b" if cell.model.bottleneck else "resnet", str(cell.model.depth), cell.model.unit)
        for cell in cells
    } == printed
    assert len(cells) == len(printed) == 32
    assert {(cell.train.epochs, cell.model.rate, cell.model.l2) for cell in cells} == {(200, 0.05, 1e-4)}


def test_print_config_prints_what_would_run_and_it_can_be_run_again(grid, tmp_path, capsys):
    assert train_cifar.main(["--config", grid, "--print_config", "--model.bottleneck=false", "--model.depth=20"]) == 0
    out = capsys.readouterr().out
    documents = list(yaml.safe_load_all(out))
    assert [document["model"]["unit"] for document in documents] == ["baseline", "conv bn | relu"]
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(documents[1]))
    assert cli.load(["--config", str(again)])[0][0].config.to_dict() == documents[1]
    assert not pathlib.Path("runs/grid").exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("--model.network wide_resnet --model.depth 16 --model.width 4", "WRN-16-4"),
        ("--model.network resnext --model.depth 29 --model.base_width 16", "ResNeXt-29 8x16d"),
        ("--model.network densenet --model.depth 40", "DenseNet-40 k=12"),
        ("--model.network densenet --model.depth 22 --model.bottleneck true", "DenseNet-B-22 k=12"),
        (
            "--model.network densenet --model.depth 22 --model.growth_rate 8 --model.bottleneck true "
            "--model.compression 0.5",
            "DenseNet-BC-22 k=8",
        ),
        ("--model.network plain --model.size large", "plain large"),
        ("--model.depth 29 --model.bottleneck true", "ResNet-B-29"),
    ],
)
def test_a_network_has_the_name_that_people_know(options, name):
    (run,), _ = cli.load(options.split())
    assert config.network(config.flatten(run.config.to_dict())) == name


def test_a_bottleneck_names_a_resnet_b_and_no_densenet():
    keys = {"model.bottleneck": True, "model.depth": 22}
    assert cli.label(keys) == "resnet-b-22"
    assert cli.label({"model.network": "densenet", **keys}) == "densenet-bottleneck-22"


def test_help_explains_every_key(capsys):
    with pytest.raises(SystemExit) as exit_:
        train_cifar.main(["--help"])
    assert exit_.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in ("--model.unit", "fraction that dropout drops", "divided by 10 after each", "Exit codes"):
        assert text in out


KEYS = sorted(config.flatten(config.Config().to_dict()))
ODD = [
    "",
    "null",
    "~",
    "nan",
    ".inf",
    "1e3",
    "0x10",
    "1_0",
    "010",
    "1:30",
    "yes",
    "on",
    "[]",
    "{}",
    "[1,",
    "!x",
    "&a 1",
]
AS_YAML_SAYS = {"0x10": 16, "1:30": 90, "&a 1": 1}
USUAL = [20, 29, 0.5, "baseline", "digits", "true", "[1, 2]"]
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(USUAL))
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def as_asked(value, asked):
    """Whether a config's value is the very one that YAML gives: no number of another kind, no text for a number."""
    if isinstance(value, float) and not isinstance(asked, bool) and isinstance(asked, int | float):
        return value == asked or (math.isnan(value) and math.isnan(asked))
    return type(value) is type(asked) and value == asked


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "config.yaml"


def loads_or_complains(argv):
    """The configs, or None after a complaint of one line."""
    try:
        return [run.config.to_dict() for run in cli.load(argv)[0]]
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)
        return None


QUOTED = {
    "data.augment": "True",
    "model.depth": "20",
    "train.learning_rate": "0.1",
    "seed": "1",
    "data.data_dir": "null",
}
QUOTED |= {"train.jit_compile": "true", "train.drops": ["1", "2"], "data.train_examples": "5", "model": "{depth: 20}"}


@pytest.mark.parametrize(("key", "text"), QUOTED.items())
@pytest.mark.parametrize("in_grid", [False, True])
def test_what_stands_in_quotes_is_text(tmp_path, key, text, in_grid):
    path = tmp_path / "quoted.yaml"
    path.write_text(yaml.safe_dump({"grid": {key: [text]}} if in_grid else {key: text}))
    with pytest.raises(UserError, match=f"{key}: expected a value without quotes|grid: expected keys such as"):
        cli.load(["--config", str(path)])


@pytest.mark.parametrize("grid", ["'{model.depth: [20]}'", "{model.depth: '[20]'}", "['{model.depth: [20]}']"])
def test_what_stands_in_quotes_is_no_grid(tmp_path, grid):
    path = tmp_path / "quoted.yaml"
    path.write_text(f"grid: {grid}")
    with pytest.raises(UserError, match="grid"):
        cli.load(["--config", str(path)])


def test_a_number_without_a_point_needs_no_quotes(tmp_path):
    path = tmp_path / "rate.yaml"
    path.write_text("train: {learning_rate: 1e-2}\nmodel: {unit: 'ic relu conv'}\ngrid: {model.rate: [5e-2, 0]}")
    runs, _ = cli.load(["--config", str(path), "--train.epochs", "20"])
    assert [(run.config.train.learning_rate, run.config.model.rate) for run in runs] == [(0.01, 0.05), (0.01, 0)]


@settings(max_examples=300, deadline=None)
@example({"data.augment": "True"}, None)
@given(st.dictionaries(st.sampled_from(KEYS), trees, max_size=4), st.none() | trees)
def test_any_yaml_is_taken_as_it_stands_or_refused(fuzzed, values, grid):
    tree = {}
    for key, value in values.items():
        *groups, leaf = key.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        branch[leaf] = value
    fuzzed.write_text(yaml.safe_dump(tree if grid is None else tree | {"grid": grid}))
    for loaded in loads_or_complains(["--config", str(fuzzed)]) or ():
        flat = config.flatten(loaded)
        assert all(as_asked(flat[key], value) for key, value in values.items() if key not in (grid or {}))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_bytes_for_a_config_are_taken_or_refused(fuzzed, content):
    fuzzed.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    loads_or_complains(["--config", str(fuzzed)])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ODD) | scalars.map(str), max_size=3))
def test_any_override_is_taken_as_it_stands_or_refused(values):
    for loaded in loads_or_complains([f"--{key}={value}" for key, value in values.items()]) or ():
        flat = config.flatten(loaded)
        for key, text in values.items():
            value = flat[key]
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert value == AS_YAML_SAYS.get(text) or value == float(text.replace(".inf", "inf")), key
            else:
                assert as_asked(value, text if isinstance(value, str) else yaml.safe_load(text)), key
