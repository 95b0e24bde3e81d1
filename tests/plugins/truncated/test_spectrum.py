"""The ends of a spectrum by the Lanczos process in the inner product of a preconditioner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature_truncated.spectrum import MAX_STEPS, extremes

from .conftest import with_spectrum


def measured(be, matrix, preconditioner=None, dtype="float64", **options):
    a = be.asarray(matrix, dtype=dtype)
    p = None if preconditioner is None else be.asarray(preconditioner, dtype=dtype)
    start = be.rng(0).normal((len(matrix), 1), dtype=a.dtype)
    return extremes(be.xp, lambda v: a @ v, None if p is None else (lambda v: p @ v), start, **options)


def test_all_of_the_spectrum_of_a_small_matrix(be):
    found = measured(be, with_spectrum([-1.0, 0.5, 2.0, 2.0]), accuracy=1e-12)
    np.testing.assert_allclose([found.smallest, found.largest, found.bound], [-1.0, 2.0, 2.0], rtol=1e-10)
    assert found.products <= 4  # rounding may hide that three exhaust it
    np.testing.assert_allclose([found.shifted(1.5).smallest, found.shifted(1.5).bound], [0.5, 3.5], rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_with_a_preconditioner_it_is_the_spectrum_of_the_product(be, generator, dtype):
    matrix = with_spectrum(np.geomspace(0.01, 10, 60), seed=1)
    preconditioner = np.linalg.inv(np.diag(np.diag(matrix)) + 0.1 * np.eye(60))
    values = np.sort(np.linalg.eigvals(preconditioner @ matrix).real)
    found = measured(be, matrix, preconditioner, dtype)
    slack = 1e-5 * values[-1]
    assert found.largest <= values[-1] + slack
    assert values[-1] <= found.bound + slack
    assert found.bound <= 1.03 * values[-1]
    assert found.smallest >= values[0] - slack
    assert found.products <= MAX_STEPS


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(-2.0, 10.0), min_size=1, max_size=30), seed=st.integers(0, 50))
def test_ritz_values_lie_within_the_spectrum(values, seed):
    found = measured(cv.backend("numpy"), with_spectrum(values, seed))
    slack = 1e-9 * max(1.0, max(abs(value) for value in values))
    assert min(values) - slack <= found.smallest <= found.largest <= max(values) + slack
    assert found.largest <= found.bound


def test_the_bound_is_seldom_below_the_largest_eigenvalue():
    """Flat spectra, scattered ones, two that are close above a gap, and a geometric decay."""
    generator, ratios = np.random.default_rng(0), []
    for trial in range(400):
        n = int(generator.choice([7, 20, 60, 300]))
        values = [
            generator.uniform(0, 1, n),
            np.exp(generator.normal(0, 3, n)),
            np.concatenate([[1.0, 0.97], generator.uniform(0, 0.1, n - 2)]),
            np.geomspace(1e-6, 1, n),
        ][trial % 4]
        found = extremes(np, lambda v, values=values: values[:, None] * v, None, generator.standard_normal((n, 1)))
        ratios.append(np.max(values) / found.bound)
    assert np.min(ratios) > 0.98
    assert np.mean(np.asarray(ratios) > 1 + 1e-9) <= 1 / 200
    assert np.max(ratios) < 1.1  # what an automatic scale bears


def test_the_zero_matrix_and_what_is_not_finite(be):
    found = measured(be, np.zeros((5, 5)))
    assert (found.smallest, found.largest, found.bound) == (0.0, 0.0, 0.0)
    with pytest.raises(cv.DataError, match="product of the matrix"):
        measured(be, np.full((3, 3), np.nan))
    with pytest.raises(cv.DataError, match="product of the preconditioner"):
        measured(be, np.eye(3), np.full((3, 3), np.inf))
    with pytest.raises(cv.NotPositiveDefiniteError, match="preconditioner is not positive definite"):
        measured(be, np.eye(3), -np.eye(3))
    with pytest.raises(cv.NotPositiveDefiniteError, match="preconditioner is zero"):
        measured(be, np.eye(3), np.zeros((3, 3)))
