"""Options that cannot be, matrices that do not fit, each with its remedy."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense

NAMES = ["low-rank", "low-rank-plus-diagonal"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is a whole number ≥ 1 or 'auto', got 0"),
        ({"rank": 2.0}, "rank is a whole number"),
        ({"rank": True}, "rank is a whole number"),
        ({"rank": "all"}, "rank is a whole number ≥ 1 or 'auto', got 'all'"),
        ({"max_rank": 0}, "max_rank is a whole number ≥ 1 or None"),
        ({"solver": "svd"}, "solver is 'nystrom' or 'lanczos', got 'svd'"),
        ({"rule": "best"}, "rule is 'certified' or 'effective-dimension', got 'best'"),
        ({"oversampling": -1}, "oversampling is a whole number ≥ 0"),
        ({"power_iterations": 0.5}, "power_iterations is a whole number ≥ 0"),
        ({"epsilon": 0.0}, "epsilon is a finite number > 0"),
        ({"damping": -1.0}, "damping is a finite number > 0"),
        ({"damping": float("inf")}, "damping is a finite number > 0"),
        ({"rule": "effective-dimension"}, "is that of a damping δ; give one"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(cv.DataError, match=f"{name}: .*{message}"):
        cv.approximation(name, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("solver", ["nystrom", "lanczos"])
def test_a_rank_above_the_dimension(make_problem, name, solver):
    for batches in (None, (2, 3)):
        with pytest.raises(cv.DataError, match="rank of 29 exceeds the dimension: the matrix is 28 × 28; ask for at most 28"):
            cv.approximate(cv.Fisher(make_problem(5, batches)), name, rank=29, solver=solver)
    assert cv.approximate(cv.Fisher(make_problem(5)), name, rank=28, solver=solver).shape == (28, 28)


@pytest.mark.parametrize("name", NAMES)
def test_an_indefinite_matrix_needs_lanczos(be, make_problem, name):
    with pytest.raises(cv.UnsupportedError, match=r"not defined for a Hessian.*solver='lanczos'"):
        cv.approximate(cv.Hessian(make_problem(5)), name)
    negative = Dense(be.asarray(np.diag([3.0, 2.0, -1.0, 0.5])), backend=be)
    with pytest.raises(cv.NotPositiveDefiniteError, match="negative eigenvalue of -1 or less; take solver='lanczos'"):
        cv.approximate(negative, name)
    near = be.to_numpy(cv.approximate(negative, name, solver="lanczos", rank=3).to_dense())
    np.testing.assert_allclose(near, np.diag([3.0, 2.0, -1.0, 0.5 * (name == "low-rank-plus-diagonal")]), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_matrix_that_is_not_symmetric(be, name):
    with pytest.raises(cv.NotSymmetricError, match=f"'{name}' is defined for symmetric"):
        cv.approximate(Dense(be.asarray(np.arange(9.0).reshape(3, 3)), backend=be), name)


def test_frozen_and_listed():
    listed = {info.name for info in cv.approximations()}
    assert set(NAMES) <= listed
    with pytest.raises(AttributeError):
        cv.approximation("low-rank").rank = 3


@pytest.mark.parametrize("name", NAMES)
def test_a_matrix_of_zeros(be, name):
    near = cv.approximate(Dense(be.asarray(np.zeros((6, 6))), backend=be), name)
    np.testing.assert_array_equal(be.to_numpy(near.to_dense()), np.zeros((6, 6)))
    np.testing.assert_allclose(be.to_numpy(near.solve(be.asarray(np.ones(6)), damping=0.5)), 2.0)
