"""The loss and the metrics of a model between steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..problem import Problem
from .failure import NUMERICAL
from .record import Point
from .snapshot import Snapshot

Array = Any
Tree = Any
Metric = Callable[[Array, Array], Any]
"""A function (outputs (N, C), targets) -> number, a mean over the examples."""


class Evaluation:
    """What is evaluated of a snapshot.

    Args:
        problem: model, likelihood and training data.
        test: further data, or None.
        metrics: name → function, evaluated on ``test``.
    """

    def __init__(self, problem: Problem, test: Any, metrics: Mapping[str, Metric] | None) -> None:
        self._problem = problem
        self._test = None if test is None else problem.at(data=test)
        self._metrics = dict(metrics or {})

    def point(self, snapshot: Snapshot, epoch: int) -> Point:
        """The point of the curve after so many epochs."""
        params = snapshot.params
        return Point(epoch, snapshot.step, snapshot.seconds, self._loss(params), self._on_test_data(params))

    def is_finite(self, snapshot: Snapshot) -> bool:
        """Whether the loss of the whole training data is."""
        try:
            return math.isfinite(self._loss(snapshot.params))
        except NUMERICAL:
            return False

    def _loss(self, params: Tree) -> float:
        return float(self._problem.at(params).loss())

    def _on_test_data(self, params: Tree) -> dict[str, float]:
        if self._test is None:
            return {}
        problem = self._test.at(params)
        found = {"loss": float(problem.loss())}
        totals = dict.fromkeys(self._metrics, 0.0)
        if self._metrics:
            for batch in problem.batches():
                outputs = problem.backend.evaluate(problem.outputs_of(batch), params)
                share = problem.weight(batch) / problem.total_weight
                for name, metric in self._metrics.items():
                    totals[name] += share * float(metric(outputs, problem.targets(batch)))
        return found | totals
