"""The benchmarks run, and what they compare with is what it says it is."""

import io
import itertools
import json
import os
import runpy
import sys

import keras
import numpy as np
import pytest

from benchmarks import measure, table1_cost
from benchmarks.contenders import speed_keras
from benchmarks.whitening import ZCAWhitening

# In place of speed_torch.py: it trains in no time.
CONTENDER = """
import os, sys
sys.path.insert(0, os.getcwd())
from benchmarks.contenders import turns

assert sys.argv[1:3] == ["-m", "benchmarks.contenders.speed_torch"]
del sys.argv[1:3]
if turns.options().way == "ceilings":
    turns.ready(copy_bytes_per_second=1, matrix_flops_per_second=1)
else:
    turns.ready(parameters=7, flops=64, bytes=0, backend="torch", devices=["a GPU"])
    turns.take(lambda: None)
"""


@pytest.fixture
def bench(monkeypatch, capsys):
    """`python -m benchmarks.NAME OPTIONS` on its short setting, in this process: gives what it prints."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.setenv("BENCH", "short")
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    return run


def test_checkpoints_and_batches_are_measured(bench):
    assert "checkpoint and records: " in bench("checkpoint_cost")
    assert "ResNet-8 waits " in bench("input_pipeline")


def test_a_contender_on_keras_trains_a_turn_each_time_it_is_asked(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    options = "--depth 8 --bottleneck false --unit relu-ic-conv --precision float32 --batch 16 --steps 1 --way floor"
    with pytest.raises(SystemExit) as ended:
        bench("contenders.speed_keras", *options.split())
    assert not ended.value.code
    ready, *turns = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready["backend"] == "tensorflow"
    assert len(turns) == 2


def test_the_tables_are_made_from_what_the_benchmarks_leave(bench, tmp_path, monkeypatch):
    """The contenders of the training are such as train in no time."""
    (tmp_path / "contender.py").write_text(CONTENDER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/contender.py" "$@"\n')
    python.chmod(0o755)
    speed = ["--torch_python", python, "--out", tmp_path / "training.jsonl", "--rounds", 3, "--contenders"]
    out = bench("training_speed", *speed, "torch-eager", "torch-compile*2", "--ceilings")
    assert "no program above               1.0, 64000.00 ms a step" in out
    assert "torch-eager is 1.00x" in out
    assert "torch-eager needs 1.00 of it" in bench("training_speed", *speed, "torch-eager", "--start_up")
    bench("layer_speed", "--out", tmp_path / "layers.jsonl")
    bench("photographs", "--out", tmp_path / "photographs.json")
    python.write_text("#!/bin/sh\n[ $2 = training.launch ] && sleep 1 && exit\nexec sleep 0.5\n")
    monkeypatch.setattr(sys, "executable", str(python))
    assert "side by side takes " in bench("side_by_side", "--out", tmp_path / "side_by_side.json")
    (tmp_path / "training_gpu.jsonl").write_bytes((tmp_path / "training.jsonl").read_bytes())
    tables = bench("table", tmp_path)
    assert tables.count("On a GPU beside ") == 2
    for row in (
        "torch.compile, 2 side by side",
        "one after another",
        "fused dropout",
        "Pillow's decoding and resizing",
    ):
        assert f"{row} " in tables


def test_whitening_leaves_its_times_and_their_figure(bench, tmp_path):
    assert "1.0x IC" in bench("whitening", "--out", tmp_path / "new")
    found = json.loads((tmp_path / "new" / "whitening.json").read_text())
    assert found["milliseconds"].keys() > {"IC", "ZCA, eigenvectors"}
    assert (tmp_path / "new" / "whitening.png").exists()


def test_the_short_setting_is_that_of_bench_alone(monkeypatch):
    monkeypatch.delenv("BENCH", raising=False)
    assert measure.setting("whole", "short") == "whole"
    monkeypatch.setenv("BENCH", "short")
    assert measure.setting("whole", "short") == "short"


def test_contenders_take_turns_and_their_ratio_is_that_of_the_rounds():
    begun = []
    contenders = {name: lambda name=name: begun.append(name) or len(begun) for name in "ab"}
    assert measure.in_turns(contenders, 3) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert begun == list("ababab")
    assert measure.ratio([1, 20, 6], [1, 10, 2]) == 2
    assert measure.spread([3, 1, 2.26], 1) == "2.3 (1.0, 3.0)"


def test_the_least_work_is_that_of_the_convs():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, 2, "same"), keras.layers.ReLU()])
    outputs, weights = 4 * 4 * 4, 3 * 3 * 3 * 4 + 4
    work = speed_keras.least_work(model, 16, "mixed_bfloat16")
    assert work == {"flops": 3 * 2 * 16 * outputs * 27, "bytes": 5 * 2 * 16 * outputs + 8 * 4 * weights}


def test_table_1_costs_what_its_cells_cost_and_one_that_was_not_timed_what_its_operations_do(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(table1_cost, "cifar_resnet", lambda depth, unit, bottleneck: depth)
    monkeypatch.setattr(table1_cost, "least_work", lambda depth, *_: {"flops": {110: 3, 164: 6}[depth]})
    units = ("baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic")
    timed = list(itertools.product((False, True), (110, 164), units))
    with (tmp_path / "speed.jsonl").open("w") as file:
        for bottleneck, depth, unit in timed:
            if (bottleneck, depth, unit) != (True, 164, "conv-relu-ic"):
                rates = {"jax": [10, 50, 60], "jax*3": [90, 100, 500], "torch-eager": [1000]}
                record = {"depth": depth, "bottleneck": str(bottleneck).lower(), "unit": unit}
                file.write(json.dumps(record | {"images_per_second": rates}) + "\n")
    table1_cost.show(tmp_path / "speed.jsonl")
    *cells, total = capsys.readouterr().out.splitlines()
    hours = 2 * 3 * 200 * 50_000 / 100 / 3600  # of two data sets and three seeds
    assert all(f"100.0 images/s, {hours:8.1f} h, measured" in cell for cell in cells[:-1])
    assert f"50.0 images/s, {2 * hours:8.1f} h, scaled from ResNet-110, conv-relu-ic" in cells[-1]
    assert total == f"all 32 cells, 3 seeds: {17 * hours:.0f} device hours"


@pytest.mark.parametrize(("method", "tolerance"), [("eigen", 1e-3), ("newton-schulz", 0.1)])
def test_whitened_channels_are_uncorrelated_and_of_variance_1(method, tolerance):
    values = np.random.default_rng(0)
    x = values.normal(size=(64, 4, 4, 3)) @ np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 1.0]]) + 5
    y = np.asarray(ZCAWhitening(method, epsilon=1e-6)(x.astype("float32"))).reshape(-1, 3)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(y.T @ y / len(y), np.eye(3), atol=tolerance)
    assert np.abs(np.corrcoef(x.reshape(-1, 3).T) - np.eye(3)).max() > 0.5
