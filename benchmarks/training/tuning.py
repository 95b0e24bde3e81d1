"""The same small search for all: a few learning rates, one seed, a share of the budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .record import Record

SHARE = 0.25
"""Of the budget, for each learning rate."""

SEED = 0


def chosen(grid: list[dict[str, Any]], run: Callable[[dict[str, Any]], Record], found: Record) -> dict[str, Any]:
    """The settings with the best ``score``, which the record keeps with all the others."""
    if len(grid) == 1:
        return grid[0]
    found["grid"], scores = [], []
    for settings in grid:
        done = run(settings)
        scores.append(score(done))
        value = final(done) if math.isfinite(final(done)) else None
        found["grid"].append({"settings": settings, "final": value, "reached": done["reached"], "stopped": done["stopped"]})
    best = min(range(len(grid)), key=scores.__getitem__)
    found["best_is_at_the_edge"] = best in (0, len(grid) - 1)
    return grid[best]


def score(run: Record) -> tuple[float, float]:
    """The lower the better: first how many targets were missed, then the last figure, or the seconds if none was."""
    seconds = [reached and reached[1] for reached in run["reached"].values()]
    missed = sum(second is None for second in seconds) if seconds else math.inf
    return (missed, final(run)) if missed else (0, max(seconds))


def final(run: Record) -> float:
    """The last figure of a run; infinity where there is none."""
    if run.get("failed") or not run["columns"]:
        return math.inf
    value = list(run["columns"].values())[2][-1]
    return math.inf if value is None else value
