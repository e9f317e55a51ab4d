"""Fixtures of the tests of reports; they import as they run, for Keras is imported after this file."""

import pytest


@pytest.fixture
def one_environment(monkeypatch):
    """Says at once where the runs ran, for that asks git each time."""
    from training import records

    monkeypatch.setattr(records, "environment", lambda: {"backend": "tensorflow", "devices": ["cpu:0"]})


@pytest.fixture
def runs(one_environment, tmp_path):
    """Four units with three seeds, but that (unit 2, seed 2) diverged and (unit 3, seed 1) is under way."""
    from recorded import EPOCHS, rising, write_run

    lasts = {
        "baseline": (0.90, 0.92, 0.94),
        "relu-ic-conv": (0.95, 0.94, 0.96),
        "ic-conv-relu": (0.91, 0.95, None),
        "conv-relu-ic": (0.80, None, 0.90),
    }
    for unit, values in lasts.items():
        for seed, last in enumerate(values):
            options = f"--train.epochs {EPOCHS} --train.drops [8] --model.unit {unit} --seed {seed}"
            if last is not None:
                write_run(tmp_path, rising(last, dip=0.02 if unit == "baseline" else 0), options)
            elif seed == 2:
                write_run(tmp_path, [0.4, 0.6, 0.99], options, "diverged")
            else:
                write_run(tmp_path, [0.4, 0.99], options, "unfinished")
    return tmp_path / "digits"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a finished run on digits."""
    import train_cifar

    options = (
        "--config configs/digits.yaml --model.unit relu-ic-conv --model.depth 8 --train.epochs 3 --train.drops [2]"
    )
    out = tmp_path_factory.mktemp("runs")
    assert train_cifar.main([*options.split(), "--out", str(out)]) == 0
    return next(out.glob("*/*/result.json")).parent
