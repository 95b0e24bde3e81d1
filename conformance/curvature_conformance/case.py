"""One scenario on one backend: the problem, its matrices, and approximations of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv

from .failures import expect_close
from .scenario import References, Scenario
from .setting import Setting

Array = Any

SEED = 20_240_229
"""Seed of what is random in the suite; a check that needs more draws counts up from it."""


@dataclass(frozen=True, eq=False)
class Case:
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

    def dense(self, operator: Any) -> np.ndarray:
        """A dense matrix on the host, in float64."""
        return self.setting.numpy(operator.to_dense()).astype(np.float64)

    def part(self, matrix: np.ndarray, part: str) -> np.ndarray:
        """A matrix, its diagonal blocks by layer, or its diagonal, with zeros elsewhere."""
        if part == "matrix":
            return matrix
        if part == "diagonal":
            return np.diag(np.diag(matrix))
        space, label = self.problem.space, np.empty(self.size, dtype=int)
        for position, names in enumerate(self.scenario.layers):
            for name in names:
                index = space.index(name)
                label[space.offsets[index] : space.offsets[index + 1]] = position
        return np.where(label[:, None] == label[None, :], matrix, 0.0)

    # Vectors ------------------------------------------------------------------------------------------

    def vector(self, seed: int = 0) -> np.ndarray:
        """A random vector (P,) on the host."""
        return self.setting.normal(self.size, seed=seed)

    def vectors(self, k: int = 3, seed: int = 0) -> np.ndarray:
        """Random vectors (P, k) on the host."""
        return self.setting.normal(self.size, k, seed=seed)

    def array(self, values: Any) -> Array:
        """On the backend."""
        return self.setting.asarray(values)

    def as_tree(self, vector: np.ndarray) -> Any:
        """The params tree of a flat vector, on the backend, divided up by the scenario's own arrays."""
        start = 0

        def next_leaf(leaf: np.ndarray) -> Array:
            nonlocal start
            values = vector[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
            return self.setting.asarray(values)

        return _in_flat_order(next_leaf, self.scenario.params)

    def close(self, found: Any, expected: Any, what: str, **options: Any) -> None:
        """``expect_close`` with the facts of this case."""
        expect_close(self.setting, found, expected, what, facts=self.facts, **options)


def _in_flat_order(function: Any, tree: Any) -> Any:
    """``map_tree`` that visits dictionaries by sorted key."""
    if isinstance(tree, dict):
        return {key: _in_flat_order(function, tree[key]) for key in sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_in_flat_order(function, part) for part in tree)
    return function(tree)
