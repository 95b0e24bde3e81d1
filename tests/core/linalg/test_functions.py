"""Functions of a matrix times vectors."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import apply_function
from curvature.operators import Diagonal, MatrixFree

N = 120


def reference(matrix, f, v):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * f(values)) @ (vectors.T @ v)


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.5, 2.0, -0.25])
@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_powers(be, operator, symmetric, power, condition, generator):
    matrix = symmetric(np.logspace(0, -np.log10(condition), N))
    v = generator.standard_normal((N, 3))
    found = be.to_numpy(apply_function(operator(matrix), lambda x: x**power, be.asarray(v)))
    expected = reference(matrix, lambda x: x**power, v)
    assert np.linalg.norm(found - expected) <= 1e-9 * np.linalg.norm(expected)


def test_exhausted_spaces_are_exact(be, operator, symmetric, generator):
    """Few distinct eigenvalues, a low rank, an eigenvector, n = 1: few products, no iteration beyond them."""
    v = be.asarray(generator.standard_normal((N, 2)))
    counted = cv.linalg.Counted(operator(symmetric(np.repeat([1.0, 4.0, 9.0], N // 3))))
    np.testing.assert_allclose(
        be.to_numpy(apply_function(counted, be.xp.sqrt, v, tolerance=1e-14)),
        reference(symmetric(np.repeat([1.0, 4.0, 9.0], N // 3)), np.sqrt, be.to_numpy(v)),
        atol=1e-11,
    )
    assert counted.products <= 8
    for spectrum in (np.ones(1), np.zeros(9), np.full(30, 2.0)):
        matrix = symmetric(spectrum)
        w = generator.standard_normal(len(spectrum))
        found = apply_function(operator(matrix), be.xp.exp, be.asarray(w))
        np.testing.assert_allclose(be.to_numpy(found), reference(matrix, np.exp, w), rtol=1e-10)


def test_forms_of_v(be, operator, symmetric, generator):
    a = operator(symmetric(np.linspace(1, 2, 40)))
    v = generator.standard_normal((40, 20))
    matrix = be.to_numpy(apply_function(a, be.xp.sqrt, be.asarray(v)))
    assert matrix.shape == (40, 20)
    column = be.to_numpy(apply_function(a, be.xp.sqrt, be.asarray(v[:, 17])))
    np.testing.assert_allclose(matrix[:, 17], column, rtol=1e-9)
    assert apply_function(a, be.xp.sqrt, be.asarray(v[:, :0])).shape == (40, 0)
    zeros = be.to_numpy(apply_function(a, be.xp.sqrt, be.asarray(v * 0)))
    np.testing.assert_array_equal(zeros, 0)


def test_columns_of_any_sizes_and_dependent_ones(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-2, 0, N))
    v = generator.standard_normal((N, 5))
    v[:, 1] = 2 * v[:, 0]
    v[:, 2] *= 1e-200
    v[:, 3] *= 1e200
    v[:, 4] = 0
    found = be.to_numpy(apply_function(operator(matrix), lambda x: 1 / x, be.asarray(v)))
    sizes = np.where(np.max(np.abs(v), axis=0) > 0, np.max(np.abs(v), axis=0), 1)
    np.testing.assert_allclose(found / sizes, np.linalg.solve(matrix, v / sizes), atol=1e-7)


def test_float32_and_scale(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-1, 0, N))
    v = be.asarray(generator.standard_normal((N, 2)), dtype="float32")
    for size in (1.0, 1e-25):
        a = operator(matrix * size, dtype="float32", symmetric=True)
        found = be.to_numpy(apply_function(a, be.xp.sqrt, v))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found / size**0.5, reference(matrix, np.sqrt, be.to_numpy(v)), atol=1e-3)


def test_large_and_matrix_free():
    n = 100_000
    entries = np.linspace(0.1, 1, n)
    free = MatrixFree(lambda v: entries[:, None] * v, n, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    v = np.cos(np.arange(n))
    np.testing.assert_allclose(apply_function(free, lambda x: x**-0.5, v), v * entries**-0.5, atol=1e-8)


def test_what_does_not_converge_is_an_error():
    with pytest.raises(cv.ConvergenceError, match=r"still changes by .* after 40 Lanczos steps, not 1e-10"):
        apply_function(Diagonal(np.logspace(-12, 0, 5000)), lambda x: x**-0.5, np.ones(5000), max_products=40, tolerance=1e-10)


def test_refusals(bare):
    a = Diagonal(np.ones(5))
    with pytest.raises(cv.ShapeError, match=r"takes \(5,\) or \(5, K\), got \(4,\)"):
        apply_function(a, np.sqrt, np.ones(4))
    with pytest.raises(ValueError, match="tolerance"):
        apply_function(a, np.sqrt, np.ones(5), tolerance=-1)
    with pytest.raises(cv.NotSymmetricError, match="apply_function"):
        apply_function(bare(np.eye(3)), np.sqrt, np.ones(3))
    with pytest.raises(cv.DataError, match="nan at -1"), np.errstate(invalid="ignore"):
        apply_function(Diagonal(-np.ones(5)), np.sqrt, np.ones(5))
