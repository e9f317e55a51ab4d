"""The command that diagnoses a finished run."""

import dataclasses
import shutil

import keras
import numpy as np
import pandas
import pytest
from PIL import Image

import train_cifar
from iclayer.diagnostics import recomputed_statistics
from training import data, diagnose
from training.config import DataConfig

OPTIONS = "--config configs/digits.yaml --model.unit relu-ic-conv --model.depth 8 --train.epochs 3 --train.drops [2]"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    assert train_cifar.main([*OPTIONS.split(), "--out", str(out)]) == 0
    return next(out.glob("*/*/result.json")).parent


def test_a_finished_run_is_measured_before_and_after_training(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert diagnose.main([str(run), "--images", "200"]) == 0
    assert str(run / "diagnostics.csv") in capsys.readouterr().out
    frame = pandas.read_csv(run / "diagnostics.csv")
    assert list(frame["model"].unique()) == ["initial", "trained"]
    accuracies = frame.set_index(["model", "mode"])["accuracy"].dropna()
    images = data.load(DataConfig("digits"))
    batches = images.batches(64, seed=0, augment=True)
    training = np.concatenate([batches(step)[0] for step in range(4)])  # 200 images or more
    model = keras.saving.load_model(run / "checkpoints" / "model.keras")
    tests, labels = images.normalize(images.test_images[:200]), images.test_labels[:200]

    def accuracy():
        return (np.asarray(model(tests)).argmax(-1) == labels).mean()

    assert accuracies["trained", "inference"] == pytest.approx(accuracy())
    with recomputed_statistics(model, training):
        assert accuracies["trained", "recomputed"] == pytest.approx(accuracy())
    convs = frame[(frame["kind"] == "Conv2D") & (frame["model"] == "trained")]
    assert len(convs) == 2 * len(set(convs["layer"]))
    assert np.isfinite(convs.loc[convs["mode"] == "training", "one_sign"]).all()
    assert Image.open(run / "diagnostics.png").size[0] > 1000
    for path, content in before.items():
        assert path.read_bytes() == content


def test_what_cannot_be_diagnosed_is_one_line_and_code_2(run, tmp_path, capsys, monkeypatch):
    def said(*argv):
        assert diagnose.main([str(part) for part in argv]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "nowhere" in said(tmp_path / "nowhere")
    assert "--images: expected an int above 1, found 0" in said(run, "--images", 0)
    copy = shutil.copytree(run, tmp_path / "copy")
    model = copy / "checkpoints" / "model.keras"
    model.write_bytes(model.read_bytes()[:5000])
    assert f"{model}: expected the trained model" in said(copy)
    model.unlink()
    assert f"{model}: expected the trained model" in said(copy)
    (copy / "result.json").unlink()
    assert "expected a finished run, found one that is unfinished" in said(copy)
    images = data.load(DataConfig("digits"))
    others = dataclasses.replace(images, train_labels=images.train_labels[::-1])
    monkeypatch.setattr(data, "load", lambda config: others)
    assert "expected the images of" in said(run)
