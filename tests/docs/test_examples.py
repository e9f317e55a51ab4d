"""Each example of the pages runs, and does what the page says."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from pages import PAGES, blocks
from PIL import Image

import iclayer
from reporting import predict
from training import cli, records
from training.config import DataConfig
from training.data import sources


def examples(page):
    return [text for _, text in blocks("python", page)]


def test_each_example_has_its_test():
    counts = {page: len(examples(page)) for page in PAGES if examples(page)}
    others = {"docs/data.md": 2, "docs/layer.md": 2, "docs/orderings.md": 1, "docs/reproduce.md": 1}
    assert counts == {"README.md": 2} | others


def test_the_ten_lines_work_where_only_the_package_is_installed(tmp_path):
    code, _ = examples("README.md")
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
    (_, insert), (keep, look) = examples("README.md"), examples("docs/layer.md")
    monkeypatch.chdir(tmp_path)
    names = {"keras": keras, "iclayer": iclayer}
    exec(insert.replace("weights=None", "weights=None, input_shape=(32, 32, 3), classes=4"), names)
    assert sum(isinstance(layer, iclayer.IC) for layer in names["model"].layers) == 54
    inputs = keras.Input((4, 8))
    x = keras.layers.EinsumDense("abc,cd->abd", (4, 8), name="class_token")(inputs)
    x = keras.layers.Dense(2)(keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x))
    names["transformer"] = keras.Model(inputs, x)
    with pytest.warns(UserWarning, match=r"'class_token' \(EinsumDense\), 'attention' \(MultiHeadAttention\)$"):
        exec(keep, names)
    assert sum(isinstance(layer, iclayer.IC) for layer in names["model"].layers) == 1
    names["model"] = keras.Sequential([keras.Input((8,)), iclayer.IC(), keras.layers.Dense(4, "softmax")])
    names |= {"images": np.random.default_rng(0).random((20, 8)), "labels": np.arange(20) % 4}
    exec(look, names)
    assert pathlib.Path("diagnostics.png").stat().st_size > 10_000


def test_the_example_of_an_ordering_works():
    (code,), names = examples("docs/orderings.md"), {}
    exec(code, names)
    assert "stage1_unit1_ic1" in [layer.name for layer in names["model"].layers]


def test_the_example_for_a_trained_model_works(train):
    assert train("--train.epochs 6 --train.drops [5]")[0] == 0
    (code,) = examples("docs/reproduce.md")
    path = "runs/digits/relu-ic-conv-seed0/checkpoints/model.keras"
    assert path in code
    digits = sources.load(DataConfig("digits"))
    names = {"images": digits.test_images}
    exec(code.replace(path, str(train.only() / "checkpoints" / "model.keras")), names)
    assert (names["classes"] == digits.test_labels).mean() > 0.8


def test_the_five_lines_print_what_predict_does(train, monkeypatch, capsys):
    assert train("--train.epochs 6 --train.drops [5]")[0] == 0
    monkeypatch.chdir(train.only())
    Image.fromarray(sources.load(DataConfig("digits")).test_images[0].repeat(3, 0).repeat(2, 1)[..., 0]).save(
        "digit.png"
    )
    assert predict.main([".", "digit.png"]) == 0
    name, *expected = capsys.readouterr().out.splitlines()
    _, code = examples("docs/data.md")
    assert len(code.split("\n\n")[1].splitlines()) == 5
    path = "runs/digits/relu-ic-conv-seed0/"
    assert code.count(path) == 2
    exec(code.replace(path, "").replace("predict(image)", "predict(image, verbose=0)"), {})
    assert (name, capsys.readouterr().out.splitlines()) == ("digit.png", [line.strip() for line in expected])


def test_the_example_of_arrays_writes_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = np.zeros((6, 20, 24, 3), np.uint8), np.arange(6) % 2
    code, _ = examples("docs/data.md")
    exec(code, {"x_train": images, "y_train": labels, "x_test": images[:4], "y_test": labels[:4]})
    found = sources.load(DataConfig("mine.npz"))
    assert (found.train_count, found.test_count, found.shape) == (6, 4, (20, 24, 3))
    assert found.class_names == ("cat", "dog")


def test_the_example_of_a_grid_is_the_runs_that_it_promises(tmp_path):
    ((_, text),) = blocks("yaml")
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


@pytest.mark.parametrize("unit", ["baseline", "relu-ic-conv"])
def test_momentum_alone_does_not_change_the_training(unit, train):
    config = f"model: {{network: plain, size: small, unit: {unit}}}\ntrain: {{epochs: 2, drops: []}}\n"
    assert train(config=f"{config}grid: {{model.momentum: [0.99, 0.9]}}\n")[0] == 0
    slow, fast = (records.read_history(path.parent) for path in train.runs.glob("*/history.csv"))
    assert list(slow["loss"]) == list(fast["loss"])
    assert list(slow["val_loss"]) != list(fast["val_loss"])
