"""The clock of a run and what it saw: measuring the error stops the clock, and so does everything before the start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any


class Finished(Exception):
    """The budget is spent, or the parameters left the numbers: ends any loop, also one inside of SciPy."""


class Trace:
    """Steps, seconds and figures of one run.

    A contender compiles and warms up, calls ``start``, and then ``step`` after every step; ``step`` measures where enough time
    has passed since the last measurement, and raises ``Finished`` when there is no time left.

    Args:
        measure: parameters (as the contender has them) → figures; the first one is what the targets are about.
        budget: seconds of the contender's own time.
        spacing: seconds between two measurements, as a share of the time so far: the resolution of all times to a target.
        least: and at least so many.
        steps: at most so many steps; None for no bound.
        finish: waits for what a library does behind the program's back.
    """

    def __init__(
        self,
        measure: Callable[[Any], dict[str, float]],
        budget: float,
        *,
        spacing: float = 0.02,
        least: float = 0.0,
        steps: int | None = None,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self.measure = measure
        self.budget = budget
        self.spacing, self.least, self.most, self.finish = spacing, least, steps, finish
        self.rows: list[dict[str, float]] = []
        self.steps = 0
        self.made = time.perf_counter()
        self.preparation = 0.0
        self.stopped = "the budget is spent"
        self._spent = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """On the clock."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    def start(self, params: Any) -> None:
        """Compiled and warm: the clock starts, at the initial parameters."""
        self.measure(params)  # compiles the measurement
        self.preparation = time.perf_counter() - self.made
        self._row(params)
        self._since = time.perf_counter()

    def step(self, params: Any, number: int = 1) -> None:
        """So many steps are done.

        Args:
            params: the parameters, or a function that gives them, which is called where they are measured only.

        Raises:
            Finished: if the budget is spent, or a figure is not finite.
        """
        self.steps += number
        over = self.seconds >= self.budget or (self.most is not None and self.steps >= self.most)
        if over or self.seconds >= self.rows[-1]["seconds"] + max(self.least, self.spacing * self.seconds):
            self._pause()
            self._row(params() if isinstance(params, FunctionType) else params)
            if not math.isfinite(first(self.rows[-1])):
                self.stopped = "the error is not finite"
                raise Finished
            if over:
                raise Finished
            self._since = time.perf_counter()

    def end(self, params: Any, why: str) -> None:
        """The method came to an end by itself."""
        self._pause()
        self._row(params)
        self.stopped = why

    def _pause(self) -> None:
        self.finish()
        self._spent, self._since = self.seconds, None

    def _row(self, params: Any) -> None:
        figures = {name: float(value) for name, value in self.measure(params).items()}
        row = {"step": self.steps, "seconds": round(self._spent, 6)} | figures
        if self.rows and self.rows[-1]["step"] == self.steps:
            self.rows.pop()
        self.rows.append(row)

    def record(self, targets: Sequence[float]) -> dict[str, Any]:
        """When each target was reached, and what was seen, column by column, thinned out to some eighty rows."""
        reached = {}
        for target in targets:
            row = next((row for row in self.rows if first(row) <= target), None)
            reached[f"{target:g}"] = None if row is None else [row["step"], rounded(row["seconds"], 5)]
        kept = self.rows[:1]
        for row in self.rows[1:]:
            if row is self.rows[-1] or row["seconds"] >= 1.08 * kept[-1]["seconds"] or row["step"] >= 1.2 * kept[-1]["step"] + 1:
                kept.append(row)
        columns = {name: [rounded(row[name], 5) for row in kept] for name in (kept[0] if kept else {})}
        return {
            "steps": self.steps,
            "seconds": rounded(self._spent, 5),
            "preparation": rounded(self.preparation, 3),
            "stopped": self.stopped,
            "reached": reached,
            "columns": columns,
        }


def first(row: dict[str, float]) -> float:
    """The figure that the targets are about, behind step and seconds."""
    return list(row.values())[2]


def rounded(value: float, digits: int) -> float | None:
    """To so many significant digits; None for what is no number, which JSON has not."""
    if isinstance(value, int):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
