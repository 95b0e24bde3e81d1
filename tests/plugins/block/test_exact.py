"""The whole matrix, dense."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense


def problem(be, generator, n=5):
    params = {"w": be.asarray(generator.standard_normal((3, 2))), "b": be.asarray(generator.standard_normal(2))}
    data = (be.asarray(generator.standard_normal((n, 3))), be.asarray(generator.integers(0, 2, n)))
    return cv.Problem(cv.Model(lambda p, x: x @ p["w"] + p["b"], params), cv.Categorical(), data)


@pytest.mark.parametrize("kind", [cv.Fisher, cv.GGN, cv.EmpiricalFisher, cv.MonteCarloFisher, cv.Hessian])
def test_it_is_the_matrix(be, generator, kind):
    matrix = kind(problem(be, generator))
    exact = cv.approximate(matrix, "exact")
    assert isinstance(exact, Dense)
    np.testing.assert_allclose(be.to_numpy(exact.array), be.to_numpy(matrix.to_dense()), rtol=1e-11, atol=1e-14)


def test_a_model_too_large_is_refused_before_any_work(generator):
    matrix = cv.Fisher(problem(cv.backend("numpy"), generator))
    with pytest.raises(cv.UnsupportedError, match=r"8 × 8 matrix .*'kfac' or 'diagonal'.*max_parameters \(now 7\)"):
        cv.approximate(matrix, "exact", max_parameters=7)
