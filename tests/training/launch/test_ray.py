"""On a Ray cluster a grid completes, whatever is lost, and each run ends as in one process."""

import os
import pathlib
import signal
import sys
import threading
import time

import pytest

from benchmarks import kill_and_resume
from training import records
from training.launch import __main__ as launch

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

CONFIG = (
    "data: {name: digits}\nmodel: {depth: 8, momentum: 0.9}\ntrain: {epochs: 12, drops: [8], threads: 1}\n"
    "grid: {model.unit: [baseline, relu-ic-conv, ic-conv-relu]}\n"
)
NAMES = [f"{unit}-seed0" for unit in ("baseline", "relu-ic-conv", "ic-conv-relu")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The grid in one process."""
    out = tmp_path_factory.mktemp("whole")
    (out / "three.yaml").write_text(CONFIG)
    kill_and_resume.finish(out, f"--config {out}/three.yaml")
    return out / "three"


@pytest.fixture
def start(whole, tmp_path, monkeypatch, capfd):
    """Launches the grid: gives the exit code."""

    def start(address, *options):
        argv = ["--ray", address, *options, "train_cifar.py", "--config", f"{whole}.yaml", "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["launch", *argv])
        return launch.main()

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    yield start
    ray.shutdown()


def when(condition, act):
    """Acts in a thread of its own, once there is what `condition` gives."""

    def wait():
        while not (found := condition()):
            time.sleep(0.01)
        act(found)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def under_way(folder, name):
    """The process of a run that has an epoch behind it."""
    holder = folder / name / "checkpoints" / "lock.holder"
    begun = (folder / name / "checkpoints" / "epoch-000002.state").exists()
    return int(holder.read_text().split()[1]) if begun and holder.exists() else None


def assert_as_in_one_process(folder, whole):
    for name in NAMES:
        assert kill_and_resume.same(kill_and_resume.end_of(folder / name), kill_and_resume.end_of(whole / name)), name


def test_a_process_that_is_killed_is_replaced_and_the_grid_completes(start, tmp_path, whole):
    folder = tmp_path / "three"
    killed = []
    when(lambda: under_way(folder, NAMES[0]), lambda pid: (os.kill(pid, signal.SIGKILL), killed.append(pid)))
    assert start("local", "--per_device", "2") == 0
    assert killed
    assert_as_in_one_process(folder, whole)
    environment = records.read_environment(folder / NAMES[0])
    assert [len(environment["earlier_sessions"]), environment["threads"]] == [1, 1]


@pytest.mark.slow
def test_a_node_that_is_lost_is_no_loss(start, tmp_path, whole):
    folder = tmp_path / "three"
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    raylet = second.all_processes["raylet"][0].process.pid

    def of_second():
        """The run whose process the second node has started."""
        for name in NAMES:
            pid = under_way(folder, name)
            if pid and raylet in ancestors(pid):
                return name
        return None

    lost = []
    thread = when(of_second, lambda name: (lost.append(name), cluster.remove_node(second, allow_graceful=False)))
    try:
        assert start(cluster.address) == 0
        thread.join()
        (name,) = lost
        assert len(records.read_environment(folder / name)["earlier_sessions"]) == 1
        assert_as_in_one_process(folder, whole)
    finally:
        ray.shutdown()
        cluster.shutdown()


def ancestors(pid):
    """Of a process, from its parent up."""
    found = []
    while pid > 1:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            break
        pid = int(status.partition("PPid:")[2].split()[0])
        found.append(pid)
    return found


@pytest.mark.slow
def test_sigterm_ends_all_so_that_they_go_on(start, tmp_path, whole):
    folder = tmp_path / "three"
    when(lambda: under_way(folder, NAMES[0]), lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert start("local", "--per_device", "2") == 130
    assert records.read_result(folder / NAMES[0])["status"] == "interrupted"
    assert start("local", "--per_device", "2") == 0
    assert_as_in_one_process(folder, whole)


def test_what_a_run_cannot_do_is_said(start, tmp_path, capfd):
    (tmp_path / "three" / NAMES[1] / "checkpoints").mkdir(parents=True)
    (tmp_path / "three" / NAMES[1] / "checkpoints" / "epoch-000001.state").write_bytes(b"broken")
    assert start("local") == 2
    err = capfd.readouterr().err
    assert f"{tmp_path / 'three' / NAMES[1]}: exit code 2 error: " in err
    assert records.read(tmp_path / "three" / NAMES[2]).status == "finished"


def test_a_cluster_that_is_not_there_is_one_line(start, capfd):
    assert start("127.0.0.1:1") == 2
    err = capfd.readouterr().err.splitlines()
    assert err[-1].startswith("error: --ray: expected a cluster at 127.0.0.1:1, found none")


def test_without_ray_the_line_says_what_to_install(monkeypatch, capfd, start):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert start("local") == 2
    assert capfd.readouterr().err == (
        "error: --ray: expected Ray, found it not installed; requirements-ray.txt has it\n"
    )
