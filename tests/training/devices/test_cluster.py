"""TF_CONFIG, ports, workers that do not come, and devices that are not there: one clear line each."""

import json
import socket
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.cli import load
from training.devices import cluster, strategy
from training.errors import UserError


def tf_config(addresses=("a:1", "b:2"), kind="worker", index=0, **jobs):
    return json.dumps({"cluster": {"worker": list(addresses), **jobs}, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "Expecting"),
        ("[]", "list"),
        ("{}", "no 'cluster'"),
        (json.dumps({"cluster": {"worker": ["a:1"]}}), "no 'task'"),
        (tf_config(index=2), "task index 2 among 2 workers"),
        (tf_config(index=-1), "task index -1"),
        (tf_config(index="0"), "task index 0"),
        (tf_config(kind="ps", ps=["c:3"]), "jobs worker, ps"),
        (tf_config(kind="chief"), "a task of type chief"),
        (tf_config(["a:1", "a:1"]), "an address twice"),
        (tf_config(["a:1", "b"]), "the address b"),
        (tf_config(["a:1", "b:99999"]), "the address b:99999"),
    ],
)
def test_a_broken_tf_config_is_one_line(text, match, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=match) as raised:
        cluster.read()
    assert str(raised.value).startswith("TF_CONFIG: expected workers and a task")
    assert "\n" not in str(raised.value)


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["cluster", "worker", "task", "type", "index"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_tf_config_is_read_or_refused(tree):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CONFIG", json.dumps(tree))
        try:
            found = cluster.read()
        except UserError:
            return
        assert 0 <= found.worker < len(found.addresses)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"TF_CONFIG: expected port {port} of localhost.*in use"):
            cluster.check_port(cluster.Cluster([f"localhost:{port}", "localhost:1"], 0))


def test_a_worker_that_never_comes_is_named_and_ends_the_wait():
    with socket.create_server(("localhost", 0)) as here:
        address = f"localhost:{here.getsockname()[1]}"
        program = (
            "import time\nfrom training.devices import cluster\n"
            f"with cluster.patience(cluster.Cluster([{address!r}, 'localhost:1'], 0), 0.2): time.sleep(60)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: TF_CONFIG: expected 2 workers within 0.2 s, found no answer from localhost:1\n"


def test_a_wait_that_ends_leaves_the_process_alone():
    program = (
        "import time\nfrom training.devices import cluster\n"
        "with cluster.patience(cluster.Cluster(['localhost:1'], 0), 0.1): pass\ntime.sleep(0.4)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_a_tpu_that_is_not_there_is_one_line():
    with pytest.raises(
        UserError, match=r"train.strategy: expected a TPU named local \(TPU_NAME\), found none: .*TPU"
    ) as raised:
        strategy.start("tpu")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("batch", "replicas"), [(64, 3), (10, 4), (256, 7)])
def test_a_batch_that_does_not_divide_is_refused_with_the_numbers(batch, replicas):
    (run,), _ = load(["--train.global_batch_size", str(batch)])
    with pytest.raises(
        UserError, match=f"train.global_batch_size: expected a multiple of the {replicas} replicas, found {batch}"
    ):
        strategy.check(run.config, 1000, strategy.Devices("mirrored", replicas))


@given(st.integers(1, 60_000), st.integers(1, 300))
def test_test_images_come_in_batches_that_every_number_of_replicas_can_share(images, replicas):
    batch = strategy.Devices(replicas=replicas).test_batch(images)
    assert batch % replicas == 0
    assert 0 <= batch - min(images, strategy.TEST_BATCH) < replicas


@pytest.mark.parametrize(
    ("environment", "gpus", "chosen"),
    [
        ({}, 0, "none"),
        ({}, 1, "none"),
        ({}, 2, "mirrored"),
        ({"TF_CONFIG": tf_config()}, 0, "multi_worker"),
        ({"TF_CONFIG": tf_config()}, 2, "multi_worker"),
        ({"TF_CONFIG": tf_config(["a:1"])}, 2, "mirrored"),
    ],
)
def test_auto_takes_what_is_there(environment, gpus, chosen, monkeypatch):
    (run,), _ = load(["--train.strategy", "auto"])
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0", *[f"gpu:{i}" for i in range(gpus)]])
    assert strategy.choose(run.config.train) == chosen


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Graph execution error:\n\naborted: from /job:worker/task:2: unhealthy:\n/job:worker/replica:0/task:2", "c:3"),
        (
            "remote target /job:worker/replica:0/task:0 while /job:worker/replica:0/task:1, /job:worker/task:2",
            "a:1, c:3",
        ),
        ("out of memory\nat node", "out of memory"),
        (
            "Graph execution error:\n\nDetected at node x (most recent call last):\n  File a\n\nwhat it is\n\t [[x]]",
            "what it is",
        ),
    ],
)
def test_lost_workers_are_named_by_their_addresses(text, found, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(["a:1", "b:2", "c:3"], index=1))
    assert f"all 3 workers to go on, found one lost: {found}; the same" in str(cluster.lost(RuntimeError(text)))


@pytest.mark.parametrize(
    ("kind", "gpus", "distribution", "steps"),
    [("none", 0, None, 1), ("none", 1, None, 71), ("mirrored", 2, object(), 1), ("tpu", 0, object(), 71)],
)
def test_a_call_has_many_steps_where_that_pays(kind, gpus, distribution, steps, monkeypatch):
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0", *[f"gpu:{i}" for i in range(gpus)]])
    (run,), _ = load([])
    devices = strategy.Devices(kind, max(gpus, 1), distribution=distribution)
    assert strategy.steps_per_call(run.config.train, 781, devices) == steps
    (run,), _ = load(["--train.steps_per_call", "11"])
    assert strategy.steps_per_call(run.config.train, 781, devices) == 11


def test_several_workers_want_two_at_least(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="expected TF_CONFIG to name two workers or more for multi_worker, found one"):
        strategy.start("multi_worker")


@pytest.mark.parametrize(
    ("backend", "gpus", "options", "steps"),
    [
        ("tensorflow", 1, "", 71),
        ("jax", 0, "", 1),
        ("jax", 2, "", 71),
        ("jax", 2, "--train.jit_compile true", 71),
        ("jax", 2, "--train.jit_compile false", 1),
        ("tensorflow", 1, "--train.jit_compile false", 71),
        ("torch", 1, "", 1),
    ],
)
def test_a_call_has_many_steps_where_the_backend_can(backend, gpus, options, steps, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0", *[f"gpu:{i}" for i in range(gpus)]])
    (run,), _ = load(options.split())
    assert strategy.steps_per_call(run.config.train, 781, strategy.Devices()) == steps


@pytest.mark.parametrize(
    ("backend", "kind", "options", "refused"),
    [
        ("tensorflow", "none", "", False),
        ("tensorflow", "mirrored", "", False),
        ("tensorflow", "multi_worker", "", True),
        ("jax", "mirrored", "--train.jit_compile true", False),
        ("jax", "mirrored", "--train.jit_compile false", True),
        ("torch", "none", "", True),
    ],
)
def test_several_steps_a_call_are_refused_where_there_are_none(backend, kind, options, refused, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    for steps, expected in ((1, False), (11, refused)):
        (run,), _ = load(["--train.steps_per_call", str(steps), *options.split()])
        try:
            strategy.check(run.config, 50_000, strategy.Devices(kind))
        except UserError as error:
            assert expected, error
            assert str(error).startswith("train.steps_per_call: expected 1 on torch") and str(error).endswith(
                "found 11"
            )
        else:
            assert not expected


@pytest.mark.parametrize(("backend", "chosen"), [("tensorflow", "mirrored"), ("jax", "mirrored"), ("torch", "none")])
def test_auto_takes_two_gpus_where_the_backend_can(backend, chosen, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr("keras.distribution.list_devices", lambda: ["cpu:0", "gpu:0", "gpu:1"])
    (run,), _ = load(["--train.strategy", "auto"])
    assert strategy.choose(run.config.train) == chosen


@pytest.mark.parametrize("wanted", ["mirrored", "multi_worker", "tpu"])
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_strategy_that_the_backend_lacks_is_refused(backend, wanted, monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    (run,), _ = load(["--train.strategy", wanted])
    if backend == "tensorflow" or (backend, wanted) == ("jax", "mirrored"):
        assert strategy.choose(run.config.train) == wanted
    else:
        with pytest.raises(UserError, match=f"^train.strategy: expected .* on {backend}, found {wanted}$"):
            strategy.choose(run.config.train)


@pytest.mark.parametrize("strategy_name", ["mirrored", "multi_worker", "tpu"])
def test_xla_is_refused_under_tf_distribute(strategy_name):
    (run,), _ = load(["--train.jit_compile", "true"])
    strategy.check(run.config, 50_000, strategy.Devices())
    with pytest.raises(
        UserError, match=f"^train.jit_compile: expected auto or false with {strategy_name}, found true$"
    ):
        strategy.check(run.config, 50_000, strategy.Devices(strategy_name, distribution=object()))


@pytest.mark.parametrize(
    ("replicas", "distribution", "set_to"), [(1, None, []), (2, None, ["all devices"]), (2, object(), [])]
)
def test_keras_distributes_what_tf_distribute_does_not(replicas, distribution, set_to, monkeypatch):
    found = []
    monkeypatch.setattr("keras.distribution.DataParallel", lambda: "all devices")
    monkeypatch.setattr("keras.distribution.set_distribution", found.append)
    strategy.distribute(strategy.Devices("mirrored", replicas, distribution=distribution))
    assert found == set_to
