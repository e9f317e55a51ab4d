"""The model that a run leaves takes images as they are."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest

from training import cli, export, files, run
from training.config import DataConfig
from training.data import sources


@pytest.fixture(scope="module")
def digits():
    return sources.load(DataConfig("digits"))


def trained(digits, tmp_path, *options):
    """A network after a few steps, and its file, loaded."""
    (one,), _ = cli.load(["--data.name", "digits", "--model.depth", "8", *options])
    model = run.build(one.config, digits)
    model.fit(digits.batches(64, 0, DataConfig()).stream(0, 3), steps_per_epoch=3, verbose=0, shuffle=False)
    export.save(tmp_path, model, digits.mean, digits.class_names)
    return model, keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_saved_model_takes_images_of_0_to_255_and_gives_what_the_trained_one_gives(digits, tmp_path, precision):
    model, saved = trained(digits, tmp_path, "--train.precision", precision)
    expected = model.predict(digits.normalize(digits.test_images), verbose=0)
    for kind in (np.uint8, np.int64, np.float32):
        found = saved.predict(digits.test_images.astype(kind), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    weights = {weight.path: np.array(weight) for weight in saved.weights}
    np.testing.assert_array_equal(weights["image_mean/mean"], digits.mean)
    evaluated = saved.evaluate(digits.test_images, digits.test_labels, verbose=0)
    correct = (expected.argmax(axis=1) == digits.test_labels).mean()
    assert evaluated[1] == pytest.approx(correct)
    assert [np.array(each).tolist() for each in saved.optimizer.variables] == [
        np.array(each).tolist() for each in model.optimizer.variables
    ]


def test_what_was_trained_is_got_back_from_its_file_and_from_that_of_an_older_run(digits, tmp_path):
    model, saved = trained(digits, tmp_path)
    images = digits.normalize(digits.test_images)
    model.save(tmp_path / "older.keras")
    for file in (saved, keras.saving.load_model(tmp_path / "older.keras")):
        network = export.network(file)
        np.testing.assert_array_equal(network.predict(images, verbose=0), model.predict(images, verbose=0))
        assert [layer.name for layer in network.layers][1:] == [layer.name for layer in model.layers][1:]


def test_a_model_that_a_run_left_is_as_good_on_raw_images_as_the_run_says(train):
    assert train("--train.epochs 6 --train.drops [5]")[0] == 0
    saved = keras.saving.load_model(train.only() / "checkpoints" / "model.keras")
    digits = sources.load(DataConfig("digits"))
    correct = (saved.predict(digits.test_images, verbose=0).argmax(axis=1) == digits.test_labels).mean()
    assert correct == json.loads((train.only() / "result.json").read_text())["last_accuracy"]
    assert correct > 0.8


def test_a_file_that_cannot_be_written_leaves_the_old_one(digits, tmp_path, monkeypatch):
    trained(digits, tmp_path)
    before = (tmp_path / "model.keras").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(export.UserError, match=r"expected to write the trained model, found .*No space"):
        trained(digits, tmp_path)
    assert (tmp_path / "model.keras").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"labels.txt", "model.keras"}


def test_whatever_a_run_leaves_was_on_the_disk_before_it_had_its_name(train, monkeypatch):
    synced, events = set(), []
    fsync, replace = os.fsync, pathlib.Path.replace

    def sync(number):
        fsync(number)
        synced.add(os.fstat(number).st_ino)
        events.append(os.fstat(number).st_ino)

    def rename(path, target):
        assert path.stat().st_ino in synced, target
        events.append(pathlib.Path(target))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(pathlib.Path, "replace", rename)
    assert train("--train.epochs 1 --train.drops []")[0] == 0
    names = [getattr(event, "name", event) for event in events]
    assert {"config.yaml", "env.json", "history.csv", "epoch-000001.state", "model.keras", "result.json"} <= {*names}
    assert events[-1] == train.runs.stat().st_ino  # the curves' folder; each rename is followed by its own
    model = names.index("model.keras")
    assert events[model].parent.stat().st_ino in events[model : names.index("result.json")]


def test_a_folder_that_cannot_be_opened_hinders_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError("as on Windows")

    monkeypatch.setattr(os, "open", refuse)
    files.replace(tmp_path / "file", "content")
    assert (tmp_path / "file").read_text() == "content"
