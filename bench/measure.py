"""Timing: contenders take turns, and medians are compared, because machines are noisy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

RUNS = 5


def alternate(contenders: Mapping[str, Callable[[], None]], runs: int = RUNS) -> dict[str, float]:
    """Median seconds of each contender over *runs* turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, work in contenders.items():
            begun = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in times.items()}


def row(what: str, ours: str, anchor: str, ratio: float, aim: str) -> None:
    """Print one line of a table."""
    print(f"{what:<44} {ours:>14} {anchor:>22}   ratio {ratio:5.2f}   aim {aim}", flush=True)
