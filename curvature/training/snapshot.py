"""Where a run stands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from .record import Point, Record

Tree = Any


@dataclass(frozen=True)
class Snapshot:
    """Everything that the rest of a run depends on, besides what ``fit`` is called with.

    It is replaced as a whole, in one assignment: an interrupt finds the one before a step or the one after it, and nothing
    between.

    Attributes:
        params: the parameters.
        state: the optimiser's.
        step: steps taken.
        epoch: epochs that are complete and evaluated.
        in_epoch: steps taken in the one after these.
        rejected: steps in a row that left the numbers and were taken back by the optimiser.
        seconds: time spent in steps.
        curve: the points so far.
        stopped: the message of the ``StopTraining`` that ended the run.
    """

    params: Tree
    state: Any
    step: int = 0
    epoch: int = 0
    in_epoch: int = 0
    rejected: int = 0
    seconds: float = 0.0
    curve: tuple[Point, ...] = ()
    stopped: str | None = None

    def record(self, *, interrupted: bool = False, error: str | None = None) -> Record:
        """The record of a run that has come this far."""
        return Record(self.params, list(self.curve), self.step, self.seconds, interrupted, self.stopped, error)

    def counters(self) -> dict[str, Any]:
        """All but the parameters and the state, as numbers, strings, lists and dictionaries."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("params", "state")}
        return plain | {"curve": [asdict(point) for point in self.curve]}

    @classmethod
    def of(cls, params: Tree, state: Any, counters: dict[str, Any]) -> Snapshot:
        """The snapshot with these ``counters``."""
        curve = tuple(Point(**point) for point in counters["curve"])
        return cls(params, state, **(counters | {"curve": curve}))
