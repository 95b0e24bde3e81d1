"""One scenario on one backend: the problem, its matrices, and approximations of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv

from ..scenario import References, Scenario
from ..setting import Setting, leaves
from .base import Form, OperatorCaseBase


@dataclass(frozen=True, eq=False)
class Case(OperatorCaseBase):
    """A scenario moved to a setting. A new one for each check, so that no check sees what another has left behind."""

    setting: Setting
    scenario: Scenario

    @property
    def references(self) -> References:
        """What should come out."""
        return self.scenario.references

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return int(self.references.jacobian.shape[2])

    @property
    def facts(self) -> dict[str, float]:
        """Numbers by which results are often wrong."""
        batches = float(len(self.scenario.batches) or 1)
        n, weight = float(self.scenario.size), self.scenario.total_weight
        return {"N": n, "the sum of the weights": weight, "N/Σw": n / weight, "the number of batches": batches}

    # The problem --------------------------------------------------------------------------------------

    @cached_property
    def params(self) -> Any:
        """Parameters on the backend."""
        return self.setting.tree(self.scenario.params)

    @cached_property
    def batches(self) -> list[tuple[Any, ...]]:
        """The batches on the backend, each (x, y) or (x, y, weights)."""
        scenario, found, start = self.scenario, [], 0
        for size in scenario.batches or (scenario.size,):
            rows = slice(start, start + size)
            start += size
            x = None if scenario.x is None else self.setting.asarray(scenario.x[rows])
            batch = (x, self.setting.asarray(scenario.y[rows]))
            weights = scenario.weights
            found.append(batch if weights is None else (*batch, self.setting.asarray(weights[rows])))
        return found

    @cached_property
    def problem(self) -> cv.Problem:
        """The problem on the backend."""
        data = self.batches if self.scenario.batches else self.batches[0]
        model = self.setting.model(self.scenario.apply, self.params)
        return cv.Problem(model, self.scenario.likelihood, data, reduction=self.scenario.reduction)

    def with_scenario(self, **changes: Any) -> Case:
        """The same setting with the scenario changed."""
        return Case(self.setting, replace(self.scenario, **changes))

    # Matrices and approximations -----------------------------------------------------------------------

    def matrix(self, name: str, *, samples: int = 3, seed: int = 0) -> Any:
        """One of the curvature matrices, by its name in ``scenario.MATRICES``."""
        if name == "monte-carlo-fisher":
            return cv.MonteCarloFisher(self.problem, samples=samples, seed=seed)
        kinds: dict[str, Callable[..., Any]] = {
            "fisher": cv.Fisher,
            "ggn": cv.GGN,
            "empirical-fisher": cv.EmpiricalFisher,
            "hessian": cv.Hessian,
        }
        return kinds[name](self.problem)

    def approximation(self, name: str = "fisher") -> Any:
        """The approximation under test of one of the matrices."""
        return cv.approximate(self.matrix(name), self.setting.approximation)

    def operator(self) -> cv.Operator:
        """The approximation of the Fisher."""
        found: cv.Operator = self.approximation()
        return found

    def another(self) -> cv.Operator:
        """The approximation of the empirical Fisher."""
        found: cv.Operator = self.approximation("empirical-fisher")
        return found

    @property
    def form(self) -> Form:
        """It approximates a positive semidefinite matrix."""
        return Form.DEFINITE

    @property
    def parameters(self) -> bool:
        """It knows them."""
        return True

    def part(self, matrix: np.ndarray, part: str) -> np.ndarray:
        """A matrix, its diagonal blocks by layer or its diagonal, with zeros elsewhere, or its trace."""
        if part == "matrix":
            return matrix
        if part == "trace":
            return np.asarray(np.trace(matrix))
        if part == "diagonal":
            return np.diag(np.diag(matrix))
        kept = np.zeros_like(matrix)
        for rows in self.layer_rows():
            kept[np.ix_(rows, rows)] = matrix[np.ix_(rows, rows)]
        return kept

    def layer_rows(self) -> list[np.ndarray]:
        """The rows of each layer."""
        space = self.problem.space
        positions = {name: np.arange(a, b) for name, a, b in zip(space.names, space.offsets, space.offsets[1:], strict=False)}
        return [np.concatenate([positions[name] for name in names]) for names in self.scenario.layers]

    # Trees --------------------------------------------------------------------------------------------

    def as_tree(self, vector: np.ndarray) -> Any:
        """The params tree of a flat vector, on the backend, divided up by the scenario's own arrays."""
        start = 0

        def next_leaf(leaf: np.ndarray) -> Any:
            nonlocal start
            values = vector[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
            return self.setting.asarray(values)

        return _in_flat_order(next_leaf, self.scenario.params)

    def shapes(self, tree: Any) -> list[tuple[int, ...]]:
        """Shapes of the leaves of a params tree, in flat order."""
        return [tuple(leaf.shape) for leaf in leaves(tree)]

    def flat(self, tree: Any) -> np.ndarray:
        """The flat vector of a params tree, on the host."""
        return self.setting.flat(tree)


def _in_flat_order(function: Any, tree: Any) -> Any:
    """``map_tree`` that visits dictionaries by sorted key."""
    if isinstance(tree, dict):
        return {key: _in_flat_order(function, tree[key]) for key in sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_in_flat_order(function, part) for part in tree)
    return function(tree)
