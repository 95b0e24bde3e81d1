"""One optimiser's run, and what can be said of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...training import Record
from .contenders import Contender


@dataclass(frozen=True)
class Run:
    """An optimiser and the record of its training."""

    contender: Contender
    record: Record

    @property
    def outcome(self) -> str:
        """How it ended, in a few words; "" for as planned."""
        if self.record.interrupted:
            return f"interrupted after {self.record.steps} steps"
        return self.record.error or self.record.stopped or ""


def common_loss(runs: Sequence[Run]) -> float | None:
    """The lowest training loss that all optimisers reached, or None where there is no comparison to make."""
    completed = [run.record.curve for run in runs if not run.outcome]
    if len(completed) < 2:
        return None
    lowest = max(min(point.loss for point in curve) for curve in completed)
    # One that never got below the start is no measure for the others.
    return lowest if math.isfinite(lowest) and lowest < completed[0][0].loss else None
