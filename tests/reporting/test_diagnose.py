"""The command that diagnoses a finished run."""

import dataclasses
import json
import re
import shutil

import keras
import numpy as np
import pandas
import pytest
from PIL import Image

import train_cifar
from iclayer.diagnostics import recomputed_statistics
from iclayer.shift import predicted_shift
from reporting import diagnose, report
from training import cli, export, grid, records
from training.config import DataConfig
from training.data import sources
from training.devices import environment
from training.errors import UserError
from training.run import build


def test_a_finished_run_is_measured_before_and_after_training(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert diagnose.main([str(run), "--images", "200"]) == 0
    assert str(run / "diagnostics.csv") in capsys.readouterr().out
    frame = pandas.read_csv(run / "diagnostics.csv")
    assert list(frame["model"].unique()) == ["initial", "trained"]
    accuracies = frame.set_index(["model", "mode"])["accuracy"].dropna()
    images = sources.load(DataConfig("digits"))
    batches = images.batches(64, 0, DataConfig())
    training = np.concatenate([batches(step)[0] for step in range(4)])  # 200 images or more
    model = export.network(keras.saving.load_model(run / "checkpoints" / "model.keras"))
    tests, labels = images.normalize(images.test_images[:200]), images.test_labels[:200]

    def accuracy():
        return (np.asarray(model(tests)).argmax(-1) == labels).mean()

    assert accuracies["trained", "inference"] == pytest.approx(accuracy())
    with recomputed_statistics(model, training):
        assert accuracies["trained", "recomputed"] == pytest.approx(accuracy())
    convs = frame[(frame["kind"] == "Conv2D") & (frame["model"] == "trained")]
    assert len(convs) == 2 * len(set(convs["layer"]))
    assert np.isfinite(convs.loc[convs["mode"] == "training", "one_sign"]).all()
    ((configured,), _) = cli.load(["--config", str(run / "config.yaml")])
    for name, of_name in (("initial", build(configured.config, images)), ("trained", model)):
        rows = frame[(frame["model"] == name) & frame["predicted_variance_shift"].notna()]
        shifts = dict(zip(rows["layer"], rows["predicted_variance_shift"], strict=True))
        assert shifts == pytest.approx(predicted_shift(of_name, tests), rel=1e-4)
        assert rows["variance_shift"].notna().all()
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
    images = sources.load(DataConfig("digits"))
    others = dataclasses.replace(images, train_labels=images.train_labels[::-1])
    monkeypatch.setattr(sources, "load", lambda config: others)
    assert "expected the images of" in said(run)


TORCH = {"backend": "torch", "devices": ["cpu"]}


@pytest.mark.parametrize(
    ("sessions", "here", "named"),
    [
        (
            [{"backend": "jax"}],
            {},
            "expected the backend that drew its initial weights, jax, found {}; KERAS_BACKEND=jax",
        ),
        ([{}, {"backend": "jax"}], {}, None),  # the first session drew them
        ([TORCH], TORCH | {"devices": ["NVIDIA H100"]}, "expected the device .*, cpu, found NVIDIA H100; CUDA_VISIBLE"),
        ([TORCH], TORCH | {"devices": ["cpu", "cpu"]}, None),
        ([{"devices": ["NVIDIA H100"]}], {}, None),  # of TensorFlow, whose generators are alike on all
    ],
)
def test_an_initial_network_that_the_run_never_had_is_refused_before_the_images_are_loaded(
    sessions, here, named, run, tmp_path, capsys, monkeypatch
):
    copy = shutil.copytree(run, tmp_path / "copy")
    recorded = records.read(copy)
    *earlier, last = [recorded.environment | session for session in sessions]
    (copy / "env.json").write_text(json.dumps(last | {"earlier_sessions": earlier}))
    records.write_result(copy, "finished", trainable_parameters=1, evaluated_images=360)  # seals them
    now = environment.environment()
    monkeypatch.setattr(environment, "environment", lambda: now | here)

    def load(config):
        raise UserError("the images were asked for")

    monkeypatch.setattr(sources, "load", load)
    assert diagnose.main([str(copy)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    expected = f"{re.escape(str(copy))}: {named}".format(now["backend"]) if named else "the images were asked for"
    assert re.match(f"error: {expected}", line)


def test_ctrl_c_is_code_130_of_every_script(run, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnose, "write", interrupted)
    monkeypatch.setattr(report, "write", interrupted)
    monkeypatch.setattr(grid, "run_all", interrupted)
    assert (diagnose.main([str(run)]), report.main([str(run)]), train_cifar.main([])) == (130, 130, 130)
    assert capsys.readouterr().err == ""
