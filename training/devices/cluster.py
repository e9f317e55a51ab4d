"""The workers of one training: processes, on one host or several, that TF_CONFIG names."""

import contextlib
import json
import os
import re
import socket
import sys
import threading
from typing import NamedTuple

from training.errors import UserError, reason

PATIENCE = 300  # seconds that a worker waits for the others to come


class Cluster(NamedTuple):
    """Addresses of all workers, and the index of this one among them."""

    addresses: list[str]
    worker: int


def read() -> Cluster:
    """What TF_CONFIG says; one worker without it.

    Raises:
        UserError: it is broken.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return Cluster(["localhost:0"], 0)
    example = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, kind, index = config["cluster"], config["task"]["type"], config["task"]["index"]
        addresses = jobs["worker"]
        if list(jobs) != ["worker"] or kind != "worker" or not isinstance(addresses, list):
            raise ValueError(f"jobs {', '.join(jobs)} and a task of type {kind}")
        if type(index) is not int or not 0 <= index < len(addresses):
            raise ValueError(f"task index {index} among {len(addresses)} workers")
        if len(set(addresses)) != len(addresses):
            raise ValueError(f"an address twice: {', '.join(addresses)}")
        for address in addresses:
            _split(address)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"TF_CONFIG: expected workers and a task, such as {example}, found {found}: {text}") from error
    return Cluster(addresses, index)


def _split(address):
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"the address {address}")
    return host, int(port)


def check_port(cluster: Cluster) -> None:
    """Sees to it that this worker can listen at its address.

    Raises:
        UserError: it cannot.
    """
    host, port = _split(cluster.addresses[cluster.worker])
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        raise UserError(f"TF_CONFIG: expected port {port} of {host} to be free, found it: {error.strerror}") from error


@contextlib.contextmanager
def patience(cluster: Cluster, seconds: float = PATIENCE):
    """Ends this process with one line and code 2 where what is within, which waits for all workers, takes too long."""
    timer = threading.Timer(seconds, _give_up, [cluster, seconds])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up(cluster, seconds):
    silent = [address for address in cluster.addresses if not _answers(address)]
    found = f"no answer from {', '.join(silent)}" if silent else "all answering, and at least one not taking part"
    print(
        f"error: TF_CONFIG: expected {len(cluster.addresses)} workers within {seconds:g} s, found {found}",
        file=sys.stderr,
    )
    sys.stderr.flush()
    os._exit(2)  # the wait itself is deaf to exceptions


def lost(error: Exception) -> UserError:
    """What to tell of an error that TensorFlow raised where workers compute together: the addresses that it names."""
    cluster = read()
    tasks = {int(task) for task in re.findall(r"/job:worker\S*/task:(\d+)", str(error))} - {cluster.worker}
    found = ", ".join(cluster.addresses[task] for task in sorted(tasks)) or reason(error)
    return UserError(
        f"train.strategy: expected all {len(cluster.addresses)} workers to go on, found one lost: {found}; the same "
        "commands, of all workers, go on from the last whole epoch"
    )


def _answers(address):
    try:
        with socket.create_connection(_split(address), timeout=1):
            return True
    except OSError:
        return False
