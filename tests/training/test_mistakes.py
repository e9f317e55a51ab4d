"""Mistakes that a user makes: one line, exit code 2, nothing written or overwritten."""

import os
import subprocess
import sys

import pytest

import train_cifar

DIGITS = "data: {name: digits}\nmodel: {depth: 8}\n"
# name: (text of the YAML, options, what the line names, expects or found)
MISTAKES = {
    "unknown option": (DIGITS, "--model.dept 8", ["model.dept"]),
    "abbreviated option": (DIGITS, "--model.dep 8", ["model.dep"]),
    "unknown word": (DIGITS, "digits", ["digits"]),
    "unknown key": ("modell: {depth: 8}", "", ["modell"]),
    "unknown key in a group": ("model: {dept: 8}", "", ["model", "dept"]),
    "text for an integer": (DIGITS, "--model.depth deep", ["model.depth", "int", "deep"]),
    "text for a bool": (DIGITS, "--model.bottleneck maybe", ["model.bottleneck", "bool", "maybe"]),
    "a number for a group": ("model: 3", "", ["model"]),
    "a number for the whole file": ("3", "", ["yaml"]),
    "null for a number": ("train: {epochs: null}", "", ["train.epochs", "null"]),
    "a list for a group": (DIGITS, "--model [8]", ["model"]),
    "null for a group": ("model: null", "", ["model", "mapping"]),
    "broken YAML": ("seed: [", "", ["config.yaml", "parsing"]),
    "missing config": (None, "", ["absent.yaml"]),
    "config is a folder": (DIGITS, "--config {tmp}", ["{tmp}"]),
    "config is binary": (b"\x00\xff\xfe", "", ["config"]),
    "unknown data set": (DIGITS, "--data.name no_such", ["data.name", "TensorFlow Datasets", "found no_such"]),
    "no such archive": (DIGITS, "--data.name {tmp}/no.npz", ["{tmp}/no.npz", "No such file"]),
    "no such folder": (DIGITS, "--data.name {tmp}/none", ["data.name", "folder", "{tmp}/none"]),
    "a split of what has none": (DIGITS, "--data.train_split train", ["data.train_split", "null", "digits"]),
    "negative shift": (DIGITS, "--data.shift=-1", ["data.shift", "at least 0", "-1"]),
    "a crop of small images": (DIGITS, "--data.area [0.5,1]", ["data.area", "cifar_resnet", "[0.5, 1.0]"]),
    "a size for small images": (DIGITS, "--data.image_size 64", ["data.image_size", "cifar_resnet", "64"]),
    "missing data folder": ("data: {name: cifar10, data_dir: nowhere}", "", ["data.data_dir", "nowhere"]),
    "unknown unit": (DIGITS, "--model.unit resnet", ["`unit`", "relu-ic-conv", "'resnet'"]),
    "two convs": ("model: {unit: conv relu conv}", "", ["`unit`", "2 times, not once"]),
    "depth 21": (DIGITS, "--model.depth 21", ["`depth`", "20 and 26", "21"]),
    "depth 26 of ResNet-B": (DIGITS, "--model.depth 26 --model.bottleneck true", ["`depth`", "20 and 29", "26"]),
    "rate 1.5": (DIGITS, "--model.rate 1.5", ["`rate`", "0 <= rate < 1", "1.5"]),
    "rate nan": (DIGITS, "--model.rate .nan", ["`rate`", "nan"]),
    "momentum 2": (DIGITS, "--model.momentum 2", ["`momentum`", "[0, 1]", "2"]),
    "negative L2": (DIGITS, "--model.l2=-1", ["model.l2", "at least 0", "-1"]),
    "unknown normalization": (DIGITS, "--model.normalization batsch", ["model.normalization", "instance", "batsch"]),
    "a size for a ResNet": (DIGITS, "--model.size small", ["model.size", "cifar_resnet", "small"]),
    "a width for a ResNet": (DIGITS, "--model.width 4", ["model.width", "cifar_resnet", "4"]),
    "a depth of no Wide ResNet": (DIGITS, "--model.network wide_resnet", ["`depth`", "6n + 4", "10", "8"]),
    "a depth of no DenseNet": (DIGITS, "--model.network densenet --model.bottleneck true", ["`depth`", "6n + 4", "8"]),
    "no groups": (DIGITS, "--model.network resnext --model.cardinality 0", ["`cardinality`", "at least 1", "0"]),
    "two places of pooling": ("model: {unit: conv || pool pool}", "", ["`unit`", "`pool` more than once"]),
    "a depth for a plain network": (DIGITS, "--model.network plain", ["model.depth", "plain", "8"]),
    "out is a file": (DIGITS, "--out {tmp}/file", ["out", "{tmp}/file"]),
    "out below a file": (DIGITS, "--out {tmp}/file/runs", ["out", "{tmp}/file"]),
    "out cannot be written": (DIGITS, "--out /proc/runs", ["out", "/proc"]),
    "data of a name that no folder can have": (DIGITS, f"--data.name {'a' * 5000}", ["out", "File name too long"]),
    "batch 0": (DIGITS, "--train.global_batch_size 0", ["train.global_batch_size", "at least 1", "0"]),
    "batch above the images": (DIGITS, "--train.global_batch_size 2000", ["train.global_batch_size", "1437", "2000"]),
    "too many images": (DIGITS, "--data.train_examples 5000", ["data.train_examples", "1437", "5000"]),
    "no images": (DIGITS, "--data.train_examples 0", ["data.train_examples", "at least 1", "0"]),
    "no epochs": (DIGITS, "--train.epochs 0", ["train.epochs", "at least 1", "0"]),
    "negative seed": (DIGITS, "--seed=-1", ["seed", "-1"]),
    "no steps a call": (DIGITS, "--train.steps_per_call 0", ["train.steps_per_call", "at least 1", "0"]),
    "steps a call beyond an epoch's end": (DIGITS, "--train.steps_per_call 5", ["train.steps_per_call", "22", "5"]),
    "workers without TF_CONFIG": (DIGITS, "--train.strategy multi_worker", ["train.strategy", "TF_CONFIG", "one"]),
    "a TPU that is not there": (DIGITS, "--train.strategy tpu", ["train.strategy", "TPU", "none"]),
    "photographs for a network of small images": (
        DIGITS,
        "--data.name imagenet2012",
        ["model.network", "imagenet_resnet"],
    ),
    "small images for a network of photographs": (
        DIGITS,
        "--model.network imagenet_resnet",
        ["model.network", "digits"],
    ),
    "bad images that cannot be": (DIGITS, "--data.on_bad_image skip", ["data.on_bad_image", "cifar_resnet", "skip"]),
    "learning rate 0": (DIGITS, "--train.learning_rate 0", ["train.learning_rate", "above 0"]),
    "infinite learning rate": (DIGITS, "--train.learning_rate inf", ["train.learning_rate", "inf"]),
    "drops out of order": (DIGITS, "--train.drops [8,4]", ["train.drops", "rising", "[8, 4]"]),
    "grid on the command line": (DIGITS, "--grid {{}}", ["grid", "command line"]),
    "grid over an unknown key": (DIGITS + "grid: {model.dept: [8]}", "", ["grid", "dept"]),
    "grid over a group and its key": (
        DIGITS + "grid: {model.depth: [8], model.depth.x: [8]}",
        "",
        ["grid", "model.unit", "depth.x"],
    ),
    "grid over a number": (DIGITS + "grid: {1: [8]}", "", ["grid", "1"]),
    "grid over a group": (DIGITS + "grid: {model: [8]}", "", ["grid", "model.unit", "found model"]),
    "grid with a wrong type": (DIGITS + "grid: {model.depth: [8, deep]}", "", ["grid", "model.depth", "deep"]),
    "grid with a wrong value late": (DIGITS + "grid: {model.depth: [8, 14, 21]}", "", ["`depth`", "20 and 26"]),
    "grid without values": (DIGITS + "grid: {model.depth: []}", "", ["grid", "none"]),
    "grid with a value, not a list": (DIGITS + "grid: {model.depth: 8}", "", ["grid", "8"]),
    "grid with a run twice": (DIGITS + "grid: {seed: [1, 1]}", "", ["grid", "twice"]),
}


def tree(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(name, tmp_path, capfd):
    text, options, named = MISTAKES[name]
    path = tmp_path / "config.yaml" if text is not None else tmp_path / "absent.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "file").write_text("precious")
    before = tree(tmp_path)
    argv = f"--config {path} --out {tmp_path}/runs {options.format(tmp=tmp_path)}".split()
    assert train_cifar.main(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in named:
        assert word.format(tmp=tmp_path) in err
    assert tree(tmp_path) == before


def test_the_script_itself_says_one_line_and_exits_with_2(tmp_path):
    command = [sys.executable, "train_cifar.py", "--data.data_dir", str(tmp_path), "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_a_backend_that_is_not_there_is_one_line(tmp_path):
    command = [sys.executable, "train_cifar.py", "--out", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"KERAS_BACKEND": "nonsense"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "KERAS_BACKEND" in done.stderr
    assert "found nonsense" in done.stderr


def test_tensorboard_without_tensorflow_is_one_line(train, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = train("--train.tensorboard true")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "train.tensorboard: expected TensorFlow" in err
    assert not train.runs.exists()


def test_a_directory_of_another_config_is_refused_with_the_differences(train):
    config = "model: {{depth: 8, rate: {}}}\ntrain: {{epochs: {}, drops: []}}\n"
    assert train(config=config.format(0.05, 1))[0] == 0
    before = tree(train.runs)
    code, out, err = train(config=config.format(0.1, 2))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "model.rate 0.05 (now 0.1), train.epochs 1 (now 2)" in err
    assert tree(train.runs) == before


@pytest.mark.parametrize("content", ["", "3", "a: [", "\x00"])
def test_a_broken_record_is_refused(train, content):
    run = train.runs / "seed0"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(content)
    code, _, err = train()
    assert code == 2
    assert err.count("\n") == 1
    assert str(run) in err


def test_a_broken_result_or_a_lost_config_is_refused(train):
    assert train("--train.epochs 1")[0] == 0
    run = train.only()
    result = (run / "result.json").read_text()
    for name, content, named in (
        ("result.json", "[1, 2", "expected a record"),
        ("result.json", "[1, 2]", "expected a record"),
        ("result.json", '{"status": "fine"}', "finished, diverged, interrupted, found fine"),
        ("result.json", result.replace("finished", "interrupted"), "found them changed since"),
        ("config.yaml", None, "expected config.yaml beside history.csv"),
    ):
        if content is None:
            (run / name).unlink()
        else:
            (run / name).write_text(content)
        code, _, err = train("--train.epochs 1")
        assert code == 2
        assert err.count("\n") == 1
        assert str(run if content is None else run / name) in err
        assert named in err
