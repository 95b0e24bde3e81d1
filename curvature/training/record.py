"""What a training run leaves behind."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

Tree = Any


@dataclass(frozen=True)
class Point:
    """The model at one moment of a run.

    Attributes:
        epoch, step: how many were complete.
        seconds: time spent in steps until then; evaluation and callbacks do not count.
        loss: of the whole training data, without the optimiser's l2 term.
        test: "loss" of the test data and the metrics asked for; empty without test data.
    """

    epoch: int
    step: int
    seconds: float
    loss: float
    test: dict[str, float] = field(default_factory=dict)


@dataclass
class Record:
    """A training run.

    Attributes:
        params: the parameters that it arrived at.
        curve: the start, the end of every epoch, and the end of a run that stopped within one.
        steps: steps taken.
        seconds: time spent in them.
        interrupted: whether Ctrl-C ended it.
        stopped: the message of the ``StopTraining`` that ended it, or None.
        error: the step and the minibatch at which the numbers failed, and how; or None. ``params`` and ``steps`` are then those
            of the last good step, at which the loss was finite.
    """

    params: Tree
    curve: list[Point] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    stopped: str | None = None
    error: str | None = None

    @property
    def final(self) -> Point:
        """The last point of the curve."""
        return self.curve[-1]

    @property
    def complete(self) -> bool:
        """Whether all epochs were run."""
        return not self.interrupted and self.stopped is None and self.error is None

    def reached(self, loss: float) -> Point | None:
        """The first point at which the training loss was ``loss`` or less, or None."""
        return next((point for point in self.curve if point.loss <= loss), None)

    def as_dict(self) -> dict[str, Any]:
        """All but the parameters, for JSON: numbers that are not finite, which it cannot hold, are None."""
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "error": self.error,
            "curve": [_finite(asdict(point)) for point in self.curve],
        }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
