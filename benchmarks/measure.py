"""How the benchmarks measure: their settings, contenders in turns, and what is said of the rounds."""

import os
import statistics
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def setting(whole: T, short: T) -> T:
    """`short` where the environment has BENCH=short: to see that a benchmark runs, not to measure."""
    return short if os.environ.get("BENCH") == "short" else whole


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each contender measures in each round; they take turns, so that what slows a machine slows all."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def spread(values: list[float], digits: int) -> str:
    """Median (least, greatest)."""
    middle, least, greatest = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({least}, {greatest})"
