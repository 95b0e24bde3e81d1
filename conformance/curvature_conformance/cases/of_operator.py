"""An operator that is tested by itself, against its own dense form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import Dense

from ..setting import Setting
from .base import Form, OperatorCaseBase


@dataclass(frozen=True, eq=False)
class OperatorExample:
    """An operator that somebody else has made.

    Attributes:
        name: the name of its class.
        operator: the operator.
    """

    name: str
    operator: cv.Operator

    is_plain = True

    @cached_property
    def dense(self) -> np.ndarray:
        """Its dense form on the host, in float64."""
        return np.asarray(self.operator.backend.to_numpy(self.operator.to_dense()), dtype=np.float64)

    @cached_property
    def form(self) -> Form:
        """By its shape, by whether it says that it is symmetric, and by its eigenvalues."""
        if self.operator.shape[0] != self.operator.shape[1]:
            return Form.RECTANGULAR
        if not self.operator.symmetric:
            return Form.SQUARE
        values = np.linalg.eigvalsh((self.dense + self.dense.T) / 2)
        single = self.operator.dtype == self.operator.xp.float32
        rounding = 1e3 * len(values) * float(np.finfo("float32" if single else "float64").eps)
        return Form.DEFINITE if values[0] >= -rounding * abs(values[-1]) else Form.SYMMETRIC


@dataclass(frozen=True, eq=False)
class OperatorCase(OperatorCaseBase):
    """An operator on the setting of its own backend and dtype."""

    setting: Setting
    scenario: OperatorExample

    @property
    def size(self) -> int:
        """Columns."""
        return int(self.scenario.operator.shape[1])

    def operator(self) -> cv.Operator:
        """The operator."""
        return self.scenario.operator

    def another(self) -> cv.Operator:
        """A dense symmetric positive definite matrix."""
        root = self.setting.normal(self.size, self.size, seed=12)
        matrix = root @ root.T / self.size + np.eye(self.size)
        operator = self.operator()
        return Dense(self.array(matrix), backend=operator.backend, space=operator.space, symmetric=True)

    @property
    def form(self) -> Form:
        """What was found of the operator, once."""
        return self.scenario.form

    @property
    def parameters(self) -> bool:
        """Whether it has a space."""
        return self.operator().space is not None

    def as_tree(self, vector: np.ndarray) -> Any:
        """By its own space."""
        return self._space.unravel(self.setting.xp, self.array(vector))

    def shapes(self, tree: Any) -> list[tuple[int, ...]]:
        """By its own space."""
        return [tuple(leaf.shape) for leaf in self._space.flatten(tree)]

    def flat(self, tree: Any) -> np.ndarray:
        """By its own space."""
        return np.concatenate([np.ravel(self.setting.numpy(leaf)) for leaf in self._space.flatten(tree)])

    @property
    def _space(self) -> cv.ParameterSpace:
        space = self.operator().space
        assert space is not None
        return space
