"""How many examples a minibatch has, where that changes in the course of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import DataError

BatchSize = Callable[[int, int], int]
"""A function (step from 1, N) -> examples in the minibatch of that step, 1 … N."""


@dataclass(frozen=True)
class GrowingBatch:
    """Minibatches that grow exponentially until they are all of the data.

    m_k = min(first · exp((k-1)/b), N) in step k = 1, 2, …, rounded, with b such that m_k = N at k = ``full_at``. The noise of
    the gradient then falls as fast as the steps get better (Martens and Grosse 2015, section 13).

    Args:
        first: m_1; no more than N counts.
        full_at: the first step on all examples.

    Raises:
        DataError: if one of them is no positive integer.
    """

    first: int
    full_at: int

    def __post_init__(self) -> None:
        for name, value in (("first", self.first), ("full_at", self.full_at)):
            if not is_positive_integer(value):
                raise DataError(f"{name} of a GrowingBatch is a positive integer, got {value!r}")

    def __call__(self, step: int, examples: int) -> int:
        """m_k of step k for N examples."""
        if step >= self.full_at or self.first >= examples:
            return examples
        # first · exp((k-1)/b), b = (full_at - 1) / log(N / first)
        share = (step - 1) / (self.full_at - 1)
        return min(round(self.first * math.pow(examples / self.first, share)), examples)


def is_positive_integer(value: Any) -> bool:
    """Whether it is an ``int`` ≥ 1, and no ``bool``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
