"""Which eigenvalues are wanted, and what an iteration has of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ORDERS: dict[str, Callable[[Any], Any]] = {
    "magnitude": np.abs,
    "largest": lambda values: values,
    "smallest": np.negative,
}
"""By name: a function of eigenvalues that is the larger the more an eigenvalue is wanted."""


def wanted(values: Any, which: str) -> Any:
    """Positions of eigenvalues, the most wanted first."""
    return np.argsort(-ORDERS[which](values), kind="stable")


@dataclass(frozen=True)
class Found:
    """Approximate eigenpairs of an iteration.

    Attributes:
        values, residuals: (k,) on the host, the most wanted first.
        scale: the largest eigenvalue met, in magnitude.
        vectors: gives the vectors (n, k).
        done: whether these are what was asked for.
    """

    values: Any
    residuals: Any
    scale: float
    vectors: Callable[[], Any]
    done: bool
