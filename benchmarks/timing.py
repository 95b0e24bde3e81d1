"""Interleaved timing: every operation once in each round, in a new order, so that drift of the machine hits all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    operations: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 2,
    finish: Callable[[object], None] = lambda result: None,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, list[float]]:
    """Seconds of every operation in every round; ``finish`` waits until its result is there."""
    order = list(operations)
    shuffle = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for number in range(-warmup, rounds):
        shuffle.shuffle(order)
        for name in order:
            start = time.perf_counter()
            finish(operations[name]())
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
        progress(number + warmup + 1)
    return seconds


def multiples(seconds: Mapping[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """Median time of each operation as a multiple of the base's, with quartiles of the ratio round by round."""
    result = {}
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, seconds[base], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        result[name] = {
            "multiple": statistics.median(values) / statistics.median(seconds[base]),
            "low": low,
            "high": high,
            "milliseconds": 1e3 * statistics.median(values),
        }
    return result
