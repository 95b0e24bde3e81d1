"""What all cases have: numbers to test with, and the way to the host and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from typing import Any

import numpy as np

import curvature as cv

from ..failures import expect_close
from ..setting import Setting

Array = Any

SEED = 20_240_229
"""Seed of what is random in the suite; a check that needs more draws counts up from it."""


class CaseBase(ABC):
    """Something to test in a setting. A new one for each check, so that no check sees what another has left behind."""

    setting: Setting

    @property
    @abstractmethod
    def size(self) -> int:
        """P, the number of parameters (or columns)."""

    @property
    def facts(self) -> dict[str, float]:
        """Numbers by which results are often wrong."""
        return {}

    def vector(self, seed: int = 0) -> np.ndarray:
        """A random vector (P,) on the host."""
        return self.setting.normal(self.size, seed=seed)

    def vectors(self, k: int = 3, seed: int = 0) -> np.ndarray:
        """Random vectors (P, k) on the host."""
        return self.setting.normal(self.size, k, seed=seed)

    def array(self, values: Any) -> Array:
        """On the backend."""
        return self.setting.asarray(values)

    def dense(self, operator: Any) -> np.ndarray:
        """A dense matrix on the host, in float64."""
        return self.setting.numpy(operator.to_dense()).astype(np.float64)

    def close(self, found: Any, expected: Any, what: str, **options: Any) -> None:
        """``expect_close`` with the facts of this case."""
        expect_close(self.setting, found, expected, what, facts=self.facts, **options)


class Form(IntEnum):
    """What operations there are on an operator: each form has those of the forms before it, too."""

    RECTANGULAR = 0  # products, transposes, sums
    SQUARE = 1  # traces, products with itself
    SYMMETRIC = 2  # eigenvectors
    DEFINITE = 3  # positive semidefinite: damped inverses, roots, draws


class OperatorCaseBase(CaseBase):
    """A case of checks on an operator: that of an approximation, or one that is tested by itself."""

    @abstractmethod
    def operator(self) -> cv.Operator:
        """The operator under test."""

    @abstractmethod
    def another(self) -> cv.Operator:
        """Another operator of the same shape and backend."""

    @property
    @abstractmethod
    def form(self) -> Form:
        """What the operator says of itself, and its eigenvalues say of it."""

    @property
    @abstractmethod
    def parameters(self) -> bool:
        """Whether the operator knows the parameters that its rows stand for."""

    @abstractmethod
    def as_tree(self, vector: np.ndarray) -> Any:
        """The params tree of a flat vector, on the backend."""

    @abstractmethod
    def shapes(self, tree: Any) -> list[tuple[int, ...]]:
        """Shapes of the leaves of a params tree, in flat order."""

    @abstractmethod
    def flat(self, tree: Any) -> np.ndarray:
        """The flat vector of a params tree, on the host."""
