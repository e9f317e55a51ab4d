"""The other numbers of the pages: of the speeds and costs that were recorded, and of the code."""

import json
import pathlib
import re

import numpy as np
from pages import PAGES, SHOWN, words

import models
from benchmarks import table
from training import records
from training.config import DataConfig
from training.data.known import KNOWN


def test_the_speeds_are_those_that_were_recorded(capsys):
    table.show(pathlib.Path("benchmarks/results"))
    (shown,) = [text for _, folder, text in SHOWN if folder == "benchmarks/results"]
    assert shown == capsys.readouterr().out


def test_the_speeds_in_the_text_are_those_that_were_recorded():
    def ratio(of, to):
        return np.median(np.divide(of, to))

    results, text = pathlib.Path("benchmarks/results"), words("docs/speed.md")
    first, *others = map(json.loads, (results / "training.jsonl").read_text().splitlines())
    rates = first["images_per_second"]
    on = rates["tensorflow:on"]
    assert (
        f"ResNet-{first['depth']} with IC trains {ratio(on, rates['stock:on']):.1f} times as fast as with stock" in text
    )
    assert f"and {ratio(on, rates['torch-eager']):.1f} times as fast as the same network in PyTorch" in text
    assert f"they make ResNet-{first['depth']} train {ratio(on, rates['tensorflow:off']):.1f} times as fast" in text
    jax, torch = (
        next(record["images_per_second"] for record in others if record["contenders"][0] == backend)
        for backend in ("jax", "torch")
    )
    assert (
        f"On JAX it trains {ratio(jax['jax'], jax['stock@jax']):.1f} times as fast as with stock Keras layers" in text
    )
    assert f"on Keras' PyTorch {ratio(torch['torch'], torch['stock@torch']):.1f} times as fast, where it keeps" in text
    assert f"with PyTorch without Keras ({ratio(torch['torch'], torch['torch-eager']):.2f} times)" in text
    gpu = json.loads((results / "training_gpu.jsonl").read_text())["images_per_second"]
    assert f"trains {ratio(gpu['jax'], gpu['torch-eager']):.1f} times as fast as in PyTorch step by step" in text
    assert f"and {ratio(gpu['jax'], gpu['torch-compile-graph']):.2f} times as fast as in PyTorch where" in text
    assert f"train hardly more images a second there than one ({ratio(gpu['jax*3'], gpu['jax']):.2f} times)" in text
    times = json.loads((results / "whitening.json").read_text())["milliseconds"]
    zca, ic = times["ZCA, eigenvectors"], times["IC"]
    assert f"at 16, ZCA takes {np.median(zca['16']):.1f} ms and IC {np.median(ic['16']):.1f})" in text
    assert f"at 1,024 IC is {ratio(zca['1024'], ic['1024']):.0f} times as fast" in text
    rates = json.loads((results / "photographs.json").read_text())["photographs_per_second"]
    left = ratio(rates["decoding and resizing"], rates["decoding"])
    assert f"resizing after it leaves {left:.1f} of its rate" in text


def test_the_time_of_runs_side_by_side_is_the_recorded_one():
    found = json.loads(pathlib.Path("benchmarks/results/side_by_side.json").read_text())
    assert (found["runs"], found["depth"], found["epochs"], found["train"]) == (8, 20, 2, 5_000)
    took = np.median(np.divide(found["seconds"]["side by side"], found["seconds"]["one after another"]))
    assert f"took {took:.2f} of the time side by side on {found['machine']['cores']} cores" in words("docs/table1.md")


def test_the_table_of_orderings_is_the_one_that_is_built():
    rows = re.findall(r"^\| `([\w-]+)` \| `([^`]*)` \|", PAGES["docs/orderings.md"], re.MULTILINE)
    assert {name: ordering.replace("\\|", "|") for name, ordering in rows} == models.UNITS


def test_the_augmentation_is_that_of_the_data_sets():
    default, text = DataConfig(), words("docs/data.md")
    assert f"CIFAR {KNOWN['cifar10'].shift}, Fashion-MNIST {KNOWN['fashion_mnist'].shift}, digits" in text
    assert f"digits {KNOWN['digits'].shift}, any other set an eighth of the shorter side" in text
    assert KNOWN["cifar10"].shift == KNOWN["cifar100"].shift
    assert [name for name, known in KNOWN.items() if known.flip] == ["cifar10", "cifar100", "fashion_mnist"]
    for key in ("area", "aspect"):
        assert f"| `data.{key}` | {[round(value, 4) for value in getattr(default, key)]} |" in text
    assert f"| `data.image_size` | {default.image_size} |" in text


def test_the_parameters_are_those_of_the_networks(undrawn):
    text = words("docs/paper.md")
    for bottleneck, depth in ((False, 110), (False, 164), (True, 110), (True, 164)):
        model = models.cifar_resnet(depth, "baseline", bottleneck)
        count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        assert f"ResNet-{'B-' if bottleneck else ''}{depth} {count:,}" in text


def test_the_cost_is_what_the_records_say():
    for unit in ("baseline", "relu-ic-conv"):
        history = records.read_history(pathlib.Path(f"benchmarks/results/cost-cpu/resnet-110-{unit}-seed0"))
        speed = history["images_per_second"].iloc[-1]  # the first epoch has the tracing in it
        hours = f"{200 * 50_000 / speed / 3600:.0f}"
        text = words("docs/reproduce.md")
        assert f"{speed:.0f} (`{unit}`)" in text
        assert re.search(rf"200 epochs take (?:\d+ and )?{hours}\b", text)
        assert re.search(rf"\b{hours}(?: hours)? \(`{unit}`\)", words("README.md"))
        config = pathlib.Path("configs/table1.yaml").read_text().replace("\n#", "")
        assert re.search(rf"\b{hours} hours\s+\({unit}\)", config)


def test_the_cost_on_a_gpu_is_what_the_records_say():
    speed = json.loads(pathlib.Path("benchmarks/results/training_gpu.jsonl").read_text())
    assert speed["facts"]["jax"]["devices"] == ["NVIDIA H100 80GB HBM3"]
    history = records.read_history(pathlib.Path("results/table1/110-resnet-cifar10-baseline-seed0"))
    rates = [history["images_per_second"].median(), np.median(speed["images_per_second"]["jax"])]
    minutes = [200 * 50_000 / rate / 60 for rate in rates]
    assert "at {:,.0f} and {:,.0f} images a second: {:.0f} and {:.0f} minutes".format(*rates, *minutes) in words(
        "docs/reproduce.md"
    )
    assert "on an H100 a run trains for {:.0f} or {:.0f} minutes".format(*minutes) in words("README.md")
    config = " ".join(pathlib.Path("configs/table1.yaml").read_text().replace("\n#", "").split())
    assert "On an H100, with JAX, {:.0f} and {:.0f} minutes".format(*minutes) in config
    assert f"has {len(history)} of its 200 epochs" in words("docs/table1.md")


def test_the_cost_of_ilsvrc2012_is_what_the_records_say():
    histories = [
        records.read_history(path.parent)
        for path in pathlib.Path("benchmarks/results/imagenet-sample").glob("*/history.csv")
    ]
    speeds = [history["images_per_second"].iloc[-1] for history in histories]
    assert len(speeds) == 6
    text = pathlib.Path("configs/imagenet.yaml").read_text()
    assert f"{min(speeds)} to {max(speeds)} images a second" in text
    days = [90 * 1_281_167 / speed / 86_400 for speed in (max(speeds), min(speeds))]
    assert "{:.0f} to\n#           {:.0f} days".format(*days) in text
