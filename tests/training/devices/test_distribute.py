"""Replicas and workers of tf.distribute, on virtual devices and processes of one machine, against one device."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pandas
import pytest
import replicas
from photographs import jpeg

from training import checkpoint
from training.data.images import ImageSet

KINDS = {"none": 1, "mirrored": 1, "multi_worker": 2}  # processes


def clusters(processes):
    """TF_CONFIG for each process."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(processes)]
    addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    tasks = [{"type": "worker", "index": index} for index in range(processes)]
    return [json.dumps({"cluster": {"worker": addresses}, "task": task}) for task in tasks]


def start(arguments, processes, **options):
    """A process for each worker, with this Python."""
    environments = [os.environ | {"PYTHONPATH": "."} for _ in range(processes)]
    if processes > 1:
        for environment, config in zip(environments, clusters(processes), strict=True):
            environment["TF_CONFIG"] = config
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
    return [subprocess.Popen([sys.executable, *arguments], env=environment, **pipes) for environment in environments]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The outputs of each process of each kind, and the folder of the saved models."""
    folder = tmp_path_factory.mktemp("replicas")
    outputs = {}
    for kind, count in KINDS.items():
        path = folder / f"{kind}.npz"
        workers = start(["tests/training/devices/replicas.py", kind, str(path)], count)
        said = [worker.communicate(timeout=300)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * count, said
        outputs[kind] = [dict(np.load(folder / f"{kind}{i}.npz")) for i in range(count)]
    return folder, outputs


@pytest.mark.parametrize("kind", ["mirrored", "multi_worker"])
@pytest.mark.parametrize("network", replicas.NETWORKS)
def test_two_replicas_compute_what_one_does(found, kind, network):
    _, outputs = found
    one = outputs["none"][0]
    for worker in outputs[kind]:
        assert worker["replicas"] == 2
        assert worker[f"{network} moved"] > 1e-3
        for what in ("loss", "weights", "statistics", "tests"):
            np.testing.assert_allclose(worker[f"{network} {what}"], one[f"{network} {what}"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["mirrored", "multi_worker"])
def test_replicas_have_noise_of_their_own_and_one_state(found, kind):
    _, outputs = found
    for noise in replicas.NOISES:
        raised = np.concatenate([worker[noise] for worker in outputs[kind]], axis=1) > 1
        assert raised.shape == (2, 2, 1000)  # call, replica
        for a, b in ((raised[0, 0], raised[0, 1]), (raised[0, 0], raised[1, 0]), (raised[0, 1], raised[1, 0])):
            assert abs((a != b).mean() - 0.5) < 0.1  # 6 standard deviations
    for what in ("weights of replicas", "statistics of replicas"):
        values = np.concatenate([worker[what] for worker in outputs[kind]])
        assert len(values) == 2
        np.testing.assert_array_equal(values[0], values[1])


@pytest.mark.parametrize("kind", ["mirrored", "multi_worker"])
def test_moving_statistics_become_their_mean_over_replicas(found, kind):
    _, outputs = found
    before, after = np.concatenate([worker["apart and averaged"] for worker in outputs[kind]], axis=1)
    assert np.abs(before[0] - before[1]).min() > 1e-3
    np.testing.assert_allclose(after, [before.mean(axis=0)] * 2, rtol=1e-6)


@pytest.mark.parametrize("kind", ["none", "mirrored", "multi_worker"])
def test_what_was_evaluated_is_what_was_saved(found, kind):
    folder, outputs = found
    model = keras.saving.load_model(folder / kind / "model.keras")
    images = replicas.image_set(ImageSet, tests=37)
    evaluated = model.evaluate(images.test_images, images.test_labels, verbose=0)
    for worker in outputs[kind]:
        np.testing.assert_allclose(worker["evaluated"], evaluated, rtol=1e-6)


OPTIONS = "--model.momentum 0.9 --train.drops [] --train.strategy"
DIGITS = "train_cifar.py --data.name digits --model.depth 8 --train.epochs 3"
WAYS = [("mirrored", 0), ("multi_worker", 0), ("multi_worker", 1)]  # strategy, and the process that is killed


def trained(command, strategy, out, kill=None, **options):
    """Runs the script of `command`; `kill`: the process that SIGKILL hits after the first epoch. Codes and outputs."""
    script = ["tests/training/devices/two_devices.py"] if strategy == "mirrored" else []
    arguments = [*script, *command.split(), *OPTIONS.split(), strategy, "--out", str(out)]
    workers = start(arguments, KINDS[strategy], bufsize=1)
    if kill is not None:
        first = "default/*/checkpoints/epoch-000001.state"
        deadline = time.monotonic() + 240
        while not any(out.glob(first)) and time.monotonic() < deadline:
            time.sleep(0.01)
        workers[kill].kill()
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    return [worker.returncode for worker in workers], said


def killed_and_resumed(command, strategy, out, kill):
    """Codes and outputs of the killed processes; then the same command goes on to the end."""
    found = trained(command, strategy, out, kill)
    codes, said = trained(command, strategy, out)
    assert codes == [0] * KINDS[strategy], said
    assert re.search(r"epochs [2-9] to", said[0]), said
    return found


def assert_equal_records(out, expected_out):
    """Weights, seeds, optimizer, and history but for seconds, agree to the last bit."""
    (variables, history), (expected, expected_history) = records_of(out), records_of(expected_out)
    pandas.testing.assert_frame_equal(history, expected_history, check_exact=True)
    for (path, value), (expected_path, expected_value) in zip(variables, expected, strict=True):
        assert path == expected_path
        np.testing.assert_array_equal(value, expected_value)


def only(out):
    """The directory of the one run that there is."""
    (config,) = out.glob("default/*/config.yaml")
    return config.parent


def records_of(out):
    run = only(out)
    history = pandas.read_csv(run / "history.csv").drop(columns=["seconds", "images_per_second"])
    return checkpoint.newest(run / "checkpoints").variables, history


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folders of runs that nothing stops, by strategy."""
    folders = {}
    for strategy in ("mirrored", "multi_worker"):
        folders[strategy] = tmp_path_factory.mktemp(strategy)
        codes, said = trained(DIGITS, strategy, folders[strategy])
        assert codes == [0] * KINDS[strategy], said
        assert "64 images, 32 on each of 2 replicas" in said[0]
    return folders


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "kill"), WAYS)
def test_a_process_is_killed_and_the_same_commands_end_bit_identical(tmp_path, whole, strategy, kill):
    codes, said = killed_and_resumed(DIGITS, strategy, tmp_path, kill)
    assert codes.pop(kill) == -signal.SIGKILL
    del said[kill]
    assert codes == [2] * len(codes), said
    for text in said:
        (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
        assert re.search(
            r"train.strategy: expected all 2 workers to go on, found one lost: localhost:\d+; the same", line
        )
        assert "Traceback" not in text
    assert_equal_records(tmp_path, whole[strategy])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["none", "mirrored", "multi_worker"])
def test_photographs_train_and_go_on_after_a_kill(tmp_path, prepare, strategy):
    sizes = [(40 + i, 60 - i) for i in range(16)]
    prepare([jpeg(*size) for size in sizes], [jpeg(*size) for size in sizes[:7]])
    command = "train_imagenet.py --model.depth 18 --train.epochs 2 --train.global_batch_size 4 --data.data_dir"
    killed_and_resumed(f"{command} {tmp_path}", strategy, tmp_path, KINDS[strategy] - 1)
    run = only(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert (result["status"], result["epochs"], result["evaluated_images"]) == ("finished", 2, 7)
    history = pandas.read_csv(run / "history.csv")
    assert np.isclose(history["val_top5"] * 7, (history["val_top5"] * 7).round(), atol=1e-4).all()
