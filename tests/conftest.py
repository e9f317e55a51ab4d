"""Fixtures of the tests."""

import io

import hypothesis
import pytest

from training.devices.backend import import_keras

hypothesis.settings.register_profile("thorough", max_examples=2500)


def pytest_collectstart():
    """Imports Keras before the tests do, in each process that collects them; with -n one more only hands them out."""
    import_keras()


@pytest.fixture
def undrawn():
    """Networks are built without drawing their weights, which takes most of the time."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # which lists the weights to draw at the next such scope's end


@pytest.fixture(autouse=True)
def _float32():
    yield
    import keras

    keras.config.set_dtype_policy("float32")


@pytest.fixture
def train(tmp_path, capsys):
    """Runs train_cifar.py on digits into tmp_path / "runs": `train("--seed 1")` gives (exit code, stdout, stderr)."""

    import train_cifar

    def run(options="", config="model: {depth: 8, momentum: 0.9}\ntrain: {epochs: 2, drops: [1]}\n"):
        path = tmp_path / "digits8.yaml"
        path.write_text("data: {name: digits}\n" + config)
        code = train_cifar.main(["--config", str(path), "--out", str(tmp_path / "runs"), *options.split()])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    run.runs = tmp_path / "runs" / "digits8"
    run.only = lambda: next(run.runs.glob("*/config.yaml")).parent  # the directory of the one run that there is
    return run


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Writes photographs with TFDS' own writer, and gives the data set: `prepare(train, validation)`, JPEGs each."""
    import tensorflow_datasets as tfds

    from training.config import DataConfig
    from training.data import sources

    def make(train, validation, on_bad_image="error"):
        builder = tfds.builder("imagenet2012", data_dir=str(tmp_path))

        def examples(photographs):
            for i, photograph in enumerate(photographs):
                name = f"n{i:08d}_{i}.JPEG"
                yield name, {"image": io.BytesIO(photograph), "label": i % 1000, "file_name": name}

        splits = {"train": train, "validation": validation}
        with monkeypatch.context() as patch:
            patch.setattr(
                type(builder),
                "_split_generators",
                lambda self, manager: {split: examples(photographs) for split, photographs in splits.items()},
            )
            builder.download_and_prepare()
        return sources.load(DataConfig("imagenet2012", str(tmp_path), on_bad_image=on_bad_image))

    return make
