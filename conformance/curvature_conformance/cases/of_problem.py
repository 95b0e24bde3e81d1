"""A problem that somebody has: his model, his likelihood, his data. Its references are differences of its own outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv

from ..setting import Setting
from .base import CaseBase

EXAMPLES = 6
"""How many examples of the first batch are looked at."""


@dataclass(frozen=True, eq=False)
class ProblemExample:
    """A problem.

    Attributes:
        name: of its model.
        problem: the problem.
    """

    name: str
    problem: cv.Problem


@dataclass(frozen=True, eq=False)
class ProblemCase(CaseBase):
    """The first examples of a problem, on the setting of its own backend and dtype."""

    setting: Setting
    scenario: ProblemExample

    @property
    def size(self) -> int:
        """P."""
        return int(self.problem.space.size)

    @cached_property
    def batch(self) -> cv.Batch:
        """The first examples that count, of the first batch that has any."""
        for batch in self.scenario.problem.batches():
            if batch.weights is None:
                return batch.part(slice(0, EXAMPLES))
            counting = np.flatnonzero(self.setting.numpy(batch.weights) > 0)[:EXAMPLES]
            if counting.size:
                rows = self.setting.asarray(counting)
                taken = batch.taken(self.setting.xp, rows)
                return cv.Batch(taken.x, taken.y, self.setting.xp.take(batch.weights, rows, axis=0))
        raise cv.DataError("the weights of all examples are zero: nothing can be tested")

    @cached_property
    def problem(self) -> cv.Problem:
        """The problem with those examples alone."""
        return self.scenario.problem.at(data=self.batch)

    def rows(self, rows: slice) -> cv.Batch:
        """Some of those examples."""
        return self.batch.part(rows)

    def tree(self, vector: np.ndarray) -> Any:
        """The params tree of a flat vector."""
        return self.problem.space.unravel(self.setting.xp, self.array(vector))

    def flat(self, tree: Any) -> np.ndarray:
        """The flat vector (P,) of a params tree, on the host, in float64."""
        leaves = self.problem.space.flatten(tree)
        return np.concatenate([np.ravel(self.setting.numpy(leaf)) for leaf in leaves]).astype(float)

    def moved(self, vector: np.ndarray, step: float) -> Any:
        """The parameters, moved along a flat vector."""
        return self.tree(self.flat(self.problem.params) + step * vector)

    def outputs(self, params: Any, batch: cv.Batch | None = None) -> np.ndarray:
        """Outputs (N, C) on the host, in float64."""
        return self.setting.numpy(self.problem.outputs(params, batch or self.batch)).astype(float)

    def gradient(self, params: Any) -> np.ndarray:
        """∇L at other parameters, flat."""
        return self.flat(self.problem.at(params).gradient())
