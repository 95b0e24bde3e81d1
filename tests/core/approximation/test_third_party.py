"""A stranger's approximation: a frozen dataclass, two functions, one hook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Diagonal


@dataclass(frozen=True)
class TiedDiagonal(cv.Approximation):
    """One number for each parameter array: the mean of its diagonal."""

    name: ClassVar[str] = "tied-diagonal"
    factor: float = 1.0


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: TiedDiagonal, backend: cv.Backend):
    xp = backend.xp
    return matrix.layer_average(lambda values: xp.mean(values.squared_gradient()))


@cv.build.dispatch
def build(method: TiedDiagonal, statistics, structure: cv.Structure):
    xp = structure.backend.xp
    columns = [method.factor * statistics[b.name] * xp.ones((b.size, 1), dtype=xp.float64) for b in structure.partition.blocks]
    return Diagonal(structure.partition.scatter(xp, columns)[:, 0], backend=structure.backend, space=structure.space)


@pytest.fixture
def problem(be, generator):
    params = {"w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    return cv.Problem(cv.Model(lambda p, x: x @ p["w"], params), cv.Categorical(), data)


def test_it_runs_on_every_backend(be, problem):
    for kind in (cv.Fisher, cv.EmpiricalFisher):
        matrix = kind(problem)
        operator = cv.approximate(matrix, TiedDiagonal(factor=2.0))
        mean = np.mean(np.diag(be.to_numpy(matrix.to_dense())))
        np.testing.assert_allclose(be.to_numpy(operator.diagonal()), 2 * mean, rtol=1e-12)


def test_it_trains(problem):
    opt = cv.NaturalGradient(TiedDiagonal())
    params, state = problem.params, opt.init(problem)
    losses = []
    for _ in range(5):
        params, state, info = opt.step(params, state)
        losses.append(info.loss)
    assert losses[-1] < losses[0]


def test_its_name_is_found_once_registered(problem, monkeypatch):
    import sys
    import types

    module = types.ModuleType("tied_diagonal_for_test")
    module.TiedDiagonal = TiedDiagonal
    monkeypatch.setitem(sys.modules, "tied_diagonal_for_test", module)

    class Named:
        @cv.hookimpl
        def curvature_register_approximations(self, api):
            return [cv.ApproximationSpec("tied-diagonal", loader="tied_diagonal_for_test:TiedDiagonal")]

    cv.register(Named(), name="tied")
    try:
        assert isinstance(cv.approximate(cv.Fisher(problem), "tied-diagonal", factor=1.0), Diagonal)
        assert "tied-diagonal" in {info.name for info in cv.approximations()}
    finally:
        cv.unregister("tied")
    with pytest.raises(cv.UnknownApproximationError, match="tied-diagonal"):
        cv.approximate(cv.Fisher(problem), "tied-diagonal")


def test_a_matrix_it_is_not_defined_for_is_refused(problem):
    with pytest.raises(cv.UnsupportedError, match="'tied-diagonal' is not defined for a Hessian"):
        cv.approximate(cv.Hessian(problem), TiedDiagonal())


def test_operators_that_belong_to_no_problem(problem):
    fisher = cv.Fisher(problem)
    be = problem.backend
    doubled = cv.approximate(2 * fisher, "exact")
    np.testing.assert_allclose(be.to_numpy(doubled.to_dense()), 2 * be.to_numpy(fisher.to_dense()), rtol=1e-12)
    with pytest.raises(cv.UnsupportedError, match="not defined for a MatrixFree"):
        cv.approximate(2 * fisher, "kfac")
    with pytest.raises(cv.ShapeError, match="square"):
        cv.approximate(cv.Jacobian(problem), "exact")


def test_statistics_merge_by_weighted_average():
    method = TiedDiagonal()
    merged = method.merge([{"a": np.ones(2)}, {"a": np.zeros(2)}], [0.25, 0.75])
    np.testing.assert_allclose(merged["a"], 0.25)
    with pytest.raises(cv.DataError, match="one weight for each"):
        method.merge([{"a": np.ones(2)}], [0.5, 0.5])


def test_what_is_no_matrix_or_no_method_is_said(problem):
    with pytest.raises(cv.DataError, match=r"curvature.Fisher\(problem\)"):
        cv.approximate(problem, "kfac")
    with pytest.raises(cv.DataError, match=r"a name or a curvature\.Approximation"):
        cv.approximate(cv.Fisher(problem), 3)
    with pytest.raises(cv.DataError, match=r"options \['factor'\]"):
        cv.approximate(cv.Fisher(problem), TiedDiagonal(), factor=2.0)
