"""How a contender of training_speed.py, a process of its own, is asked to train: one line for each turn."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable


def options() -> argparse.Namespace:
    """What every contender trains."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, required=True)
    parser.add_argument("--bottleneck", choices=("false", "true"), required=True)
    parser.add_argument("--unit", required=True)
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="of one turn")
    parser.add_argument("--way", default="", help="which of a contender's ways to train")
    return parser.parse_args()


def ready(**facts: object) -> None:
    """Says that all is compiled and warm."""
    print(json.dumps(facts), flush=True)


def wait() -> bool:
    """Waits for the next turn; False: there is none."""
    return bool(sys.stdin.readline())


def done(seconds: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


def take(train: Callable[[], None]) -> None:
    """Turns of `train`, timed, until there are no more."""
    while wait():
        begun = time.perf_counter()
        train()
        done(time.perf_counter() - begun)
