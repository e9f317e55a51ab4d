"""Grids, what the command line overrides, and the names of their runs."""

import pytest

from training import cli, config
from training.errors import UserError


def directories(argv):
    return [str(run.directory) for run in cli.load(argv)[0]]


def test_a_grid_is_the_product_and_its_values_name_the_runs(grid):
    with pytest.raises(UserError, match=r"depth=26"):  # 26 is no depth of ResNet-B: found before anything runs
        directories(["--config", grid])
    assert directories(["--config", grid, "--model.bottleneck", "false"]) == [
        f"runs/grid/resnet-{depth}-{unit}-seed3" for depth in (20, 26) for unit in ("baseline", "conv-bn-+-relu")
    ]


def test_a_key_on_the_command_line_leaves_the_grid(grid):
    (run,), _ = cli.load(
        ["--config", grid, "--model", '{"bottleneck": true}', "--model.depth=29", "--model.unit", "li2018", "--seed=4"]
    )
    assert str(run.directory) == "runs/grid/resnet-b-29-li2018-seed4"
    assert (run.config.model.depth, run.config.model.bottleneck, run.config.model.unit) == (29, True, "li2018")
    assert (run.config.seed, run.config.train.epochs) == (4, 7)


def test_seeds_in_a_grid_come_last_in_the_name(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("grid: {seed: [0, 1], model.unit: [baseline], data.augment: [true, false]}")
    assert directories([f"--config={path}"]) == [
        f"runs/s/baseline-{augment}-seed{seed}" for seed in (0, 1) for augment in ("augment", "no-augment")
    ]


def test_a_list_of_grids_is_their_union(tmp_path):
    path = tmp_path / "u.yaml"
    path.write_text("grid: [{model.rate: [0.1]}, {model.rate: [0.2], model.unit: [baseline]}]")
    assert directories([f"--config={path}"]) == ["runs/u/rate-0.1-seed0", "runs/u/rate-0.2-baseline-seed0"]
    path.write_text("grid: [{model.rate: [0.1]}, {model.rate: [0.2]}]")
    assert directories([f"--config={path}", "--model.rate=0.3"]) == ["runs/u/rate-0.3-seed0"]
    path.write_text("grid: [{model.rate: [0.1]}, {model.rate: [0.1]}]")
    with pytest.raises(UserError, match="expected different runs"):
        directories([f"--config={path}"])
    path.write_text("grid: [{model.rate: [0.1], model.unit: [baseline]}, {model.unit: [baseline], model.rate: [0.1]}]")
    with pytest.raises(UserError, match="expected different runs"):
        directories([f"--config={path}"])  # in whatever order the keys stand
    path.write_text("grid: {model.unit: [relu conv, relu  conv]}")
    with pytest.raises(UserError, match="expected different runs"):
        directories([f"--config={path}", "--seed=1"])  # two configs, and one name


def test_a_key_on_the_command_line_drops_no_run_of_another_config(tmp_path):
    path = tmp_path / "u.yaml"
    path.write_text("grid: [{seed: [0], model.rate: [0.9]}, {seed: [0], model.momentum: [0.9]}]")
    assert directories([f"--config={path}", "--seed=0"]) == ["runs/u/rate-0.9-seed0", "runs/u/momentum-0.9-seed0"]


def test_what_the_command_line_sets_beside_the_grid_names_the_run(tmp_path):
    assert directories(["--model.unit", "baseline"]) == ["runs/default/baseline-seed0"]
    two_parts = "bn conv | relu ; conv || dropout pool"
    assert directories(["--model.unit", two_parts]) == ["runs/default/bn-conv-+-relu-,-conv-++-dropout-pool-seed0"]
    assert directories(["--model.rate=0.05", "--out", "there", "--data.data_dir", "x"]) == ["there/default/seed0"]
    path = tmp_path / "u.yaml"
    path.write_text("train: {epochs: 7}\ngrid: {model.unit: [baseline]}")
    options = ["--train.drops=[2,4]", "--model.rate=0.1", "--data.augment=false", "--train.epochs=7"]
    name = "runs/u/baseline-no-augment-rate-0.1-drops-2-4-seed0"
    assert directories([f"--config={path}", *options]) == [name]


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("/data/my birds", "my-birds"),
        ("./birds", "birds"),
        ("~/birds.npz", "birds.npz"),
        ("imagenette/160px-v2", "imagenette_160px-v2"),
    ],
)
def test_a_run_on_images_of_ones_own_is_named_by_the_last_part_of_their_path(name, called):
    assert directories([f"--data.name={name}"]) == [f"runs/default/{called}-seed0"]


def change(key, value):
    """Another value of its kind."""
    others = {
        "seed": 1,
        "data.name": "digits",
        "data.train_split": "train[:9%]",
        "data.test_split": "train[9%:]",
        "data.train_examples": 100,
        "data.shift": 2,
        "data.flip": True,
        "model.depth": 20,
        "model.unit": "baseline",
        "model.normalization": "layer",
        "model.shortcut": "identity-pad",
        "train.optimizer": "sgd",
        "train.drops": [1, 2],
        "train.precision": "mixed_bfloat16",
        "train.strategy": "auto",
        "train.jit_compile": True,
        "train.steps_per_call": 2,
    }
    return others.get(key) or (not value if isinstance(value, bool) else value / 2 if value < 1 else 2 * value)


def test_no_two_keys_give_one_name():
    aside = {"model.network", "model.size", "model.stages", *config.NEUTRAL}  # not by themselves, or of no result
    aside |= {f"model.{key}" for key in ("width", "cardinality", "base_width", "growth_rate", "compression")}
    aside |= {"data.area", "data.aspect", "data.image_size"}  # of photographs
    flat = config.flatten(config.Config().to_dict())
    found = [directories([f"--{key}={change(key, value)}"]) for key, value in flat.items() if key not in aside]
    assert len({name for (name,) in found}) == len(found) > 15
