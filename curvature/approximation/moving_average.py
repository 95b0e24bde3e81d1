"""Statistics that are averaged from one batch to the next, apart from the operators that are built from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import DataError
from ..operators import Operator
from ..problem import Structure
from .base import Approximation
from .generic import built, gather

Tree = Any


@dataclass(frozen=True)
class MovingAverage:
    """Statistics of a method, averaged exponentially: T_k = ε_k T_{k-1} + (1 - ε_k) T(matrix), ε_k = min(1 - 1/k, decay).

    The first 1 / (1 - decay) updates weigh alike (Martens and Grosse 2015, §5). An update returns a new average; where one
    fails, because the statistics are not finite for example, the old one is as it was. ``statistics`` is a tree of arrays:
    ``curvature.save`` writes it, and an all-reduce may average it.

    Attributes:
        method: the approximation.
        decay: ε, in [0, 1); 0 keeps the latest only.
        statistics: the average; None before the first update.
        updates: k.

    Raises:
        DataError: if ``decay`` is not in [0, 1).
    """

    method: Approximation
    decay: float = 0.95
    statistics: Tree = None
    updates: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise DataError(f"decay lies in [0, 1), got {self.decay!r}")

    def update(self, matrix: Any) -> MovingAverage:
        """The average with the statistics of ``matrix`` taken in.

        Raises:
            DataError: if they are NaN or infinite; says which, and of which batch.
        """
        latest, count = gather(matrix, self.method), self.updates + 1
        share = min(1.0 - 1.0 / count, self.decay)
        if self.statistics is not None and share > 0:
            latest = self.method.merge([self.statistics, latest], [share, 1.0 - share])
        return replace(self, statistics=latest, updates=count)

    def operator(self, structure: Structure) -> Operator:
        """The operator that the average stands for.

        Raises:
            DataError: before the first update.
        """
        if self.statistics is None:
            raise DataError("there are no statistics yet: call update(matrix) first, and keep what it returns")
        return built(self.method, self.statistics, structure)
