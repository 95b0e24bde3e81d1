"""An operator that is tested by itself, against its own dense form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import Dense

from .case_base import Form, OperatorCaseBase
from .setting import Setting


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

    @cached_property
    def form(self) -> Form:
        """By its shape, by whether it says that it is symmetric, and by its eigenvalues."""
        operator = self.operator()
        if operator.shape[0] != operator.shape[1]:
            return Form.RECTANGULAR
        if not operator.symmetric:
            return Form.SQUARE
        dense = self.dense(operator)
        values = np.linalg.eigvalsh((dense + dense.T) / 2)
        positive = values[0] >= -100 * self.setting.tolerance * max(abs(float(values[-1])), 1e-300)
        return Form.DEFINITE if positive else Form.SYMMETRIC

    @property
    def parameters(self) -> bool:
        """Whether it has a space."""
        return self.operator().space is not None

    def as_tree(self, vector: np.ndarray) -> Any:
        """By its own space."""
        space = self.operator().space
        assert space is not None
        return space.unravel(self.setting.xp, self.array(vector))

    def shapes(self, tree: Any) -> list[tuple[int, ...]]:
        """By its own space."""
        space = self.operator().space
        assert space is not None
        return [tuple(leaf.shape) for leaf in space.flatten(tree)]

    def flat(self, tree: Any) -> np.ndarray:
        """By its own space."""
        space = self.operator().space
        assert space is not None
        return np.concatenate([np.ravel(self.setting.numpy(leaf)) for leaf in space.flatten(tree)])
