"""Runs on folders of images: to the end, and killed and gone on with."""

import json
import subprocess
import sys
import time

import pytest
from folders import encoded, image, write
from photographs import jpeg

import train_cifar
import train_imagenet
from benchmarks import kill_and_resume

SMALL = "--model.depth 8 --model.momentum 0.9 --train.epochs 3 --train.global_batch_size 16 --train.drops [2]"
PHOTOGRAPHS = "--model.depth 18 --model.stages [1,1,1,1] --data.image_size 32 --train.epochs 3 --train.drops [2]"


def small(root):
    """Gray images as TensorFlow Datasets' ImageFolder has them, with a part for each purpose."""
    parts = {"train": range(60), "val": range(60, 71), "test": range(71, 75)}
    places = [(part, i) for part, numbers in parts.items() for i in numbers]
    return write(root, {f"{p}/class {i % 3}/{i}.png": encoded(image(i, 12, 16, "L"), "PNG") for p, i in places})


def photographs(root):
    """Of several sizes and kinds, one a PNG that is called .JPEG."""
    files = {f"train/class {i % 3}/{i}.JPEG": jpeg(100 + i, 80, ("RGB", "CMYK", "L")[i % 3]) for i in range(24)}
    files |= {f"val/class {i % 3}/{i}.JPEG": jpeg(90, 100 + i) for i in range(11)}
    return write(root, files | {"train/class 0/0.JPEG": encoded(image(0, 120, 90), "PNG")})


RUNS = {
    "small": (train_cifar, small, SMALL),
    "photographs": (train_imagenet, photographs, PHOTOGRAPHS + " --train.global_batch_size 8"),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_that_is_killed_goes_on_to_the_same_end_and_tests_every_image_once(kind, tmp_path):
    script, make, options = RUNS[kind]
    command = [*options.split(), "--data.name", str(make(tmp_path / "images")), "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert script.main([*command, str(whole)]) == 0
    process = subprocess.Popen([sys.executable, f"{script.__name__}.py", *command, str(killed)])
    while process.poll() is None and not list(killed.rglob("epoch-000001.state")):
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not list(killed.rglob("result.json"))
    assert script.main([*command, str(killed)]) == 0
    assert kill_and_resume.same(kill_and_resume.end(killed), kill_and_resume.end(whole))
    (result,) = (json.loads(path.read_text()) for path in killed.rglob("result.json"))
    assert (result["status"], result["evaluated_images"]) == ("finished", 11)
    (environment,) = (json.loads(path.read_text()) for path in killed.rglob("env.json"))
    assert environment["class_names"] == ["class 0", "class 1", "class 2"]
    assert environment["from_epoch"] > 1


def test_folders_that_changed_are_not_gone_on_with(tmp_path, capsys):
    root = small(tmp_path / "images")
    command = [*SMALL.split(), "--data.name", str(root), "--out", str(tmp_path / "runs")]
    assert train_cifar.main(command) == 0
    (result,) = (tmp_path / "runs").rglob("result.json")
    result.unlink()
    write(root, {"train/class 0/0.png": encoded(image(99, 12, 16, "L"), "PNG")})
    capsys.readouterr()
    assert train_cifar.main(command) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
