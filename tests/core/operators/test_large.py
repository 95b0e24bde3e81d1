"""Operators too large for a dense matrix: every operation there is, by products alone, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, MatrixFree, Product, Sum

N = 6000


def spectrum():
    return np.linspace(1.0, 3.0, N)


def free(be):
    """Known by its products; its eigenvalues are known to the test."""
    entries = be.asarray(spectrum())
    return MatrixFree(lambda v: entries[:, None] * v, N, dtype=entries.dtype, backend=cv.backend_of(entries))


def kronecker(be, rng):
    """A ⊗ B + diag with A, B diagonal: its eigenvalues are its entries."""
    a, b = rng.uniform(1, 2, 60), rng.uniform(1, 2, 100)
    d = rng.uniform(0.1, 0.2, N)
    with pytest.warns(cv.DensifiedWarning, match="keeps neither structure"):
        total = Kronecker([be.asarray(np.diag(a)), be.asarray(np.diag(b))]) + Diagonal(be.asarray(d))
    return total, np.kron(a, b) + d


@pytest.fixture(params=["free", "sum"])
def large(request, be):
    if request.param == "free":
        return free(be), spectrum()
    return kronecker(be, np.random.default_rng(0))


def within(be, found, expected, relative):
    assert abs(float(found) - expected) <= relative * abs(expected)


def test_products_solves_and_inverses(be, large):
    operator, values = large
    v = np.random.default_rng(1).standard_normal((N, 2))
    for damping in (0.0, 0.5):
        expected = v / (values + damping)[:, None]
        np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v), damping=damping)), expected, rtol=1e-7, atol=1e-8)
        inverse = operator.inverse(damping)
        np.testing.assert_allclose(be.to_numpy(inverse @ be.asarray(v)), expected, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(be.to_numpy(inverse.solve(be.asarray(v))), v * (values + damping)[:, None], rtol=1e-12)


def test_powers(be, large):
    operator, values = large
    v = np.random.default_rng(1).standard_normal(N)
    for p in (0.5, -0.5, -1, 2):
        found = be.to_numpy(operator.power(p, 0.5) @ be.asarray(v))
        np.testing.assert_allclose(found, (values + 0.5) ** p * v, rtol=1e-5, atol=1e-5)


def test_what_is_estimated_says_so_and_is_right(be):
    operator, values = free(be), spectrum()
    with pytest.warns(cv.EstimatedWarning, match="logdet of a MatrixFree .* estimated by .* relative standard error"):
        within(be, operator.logdet(0.5), float(np.sum(np.log(values + 0.5))), 0.05)
    for operation, expected in ((operator.trace, values.sum()), (operator.norm, np.linalg.norm(values))):
        within(be, operation(), float(expected), 0.05)
    diagonal = be.to_numpy(operator.diagonal())
    assert np.linalg.norm(diagonal - values) < 0.1 * np.linalg.norm(values)
    assert operator.trace().dtype == operator.dtype


def test_what_a_sum_knows_exactly_it_does_not_estimate(be, recwarn):
    operator, values = kronecker(be, np.random.default_rng(0))
    np.testing.assert_allclose(float(operator.trace()), values.sum(), rtol=1e-12)
    np.testing.assert_allclose(float(operator.norm()), np.linalg.norm(values), rtol=1e-12)
    np.testing.assert_allclose(be.to_numpy(operator.diagonal()), values, rtol=1e-12)
    assert not [w for w in recwarn if issubclass(w.category, cv.EstimatedWarning)]


def test_eigenpairs_and_the_spectral_norm(be):
    values = spectrum()
    values[:3] = [9.0, -8.0, 7.0]
    operator = Diagonal(be.asarray(values))
    operator = MatrixFree(operator._matmat, N, dtype=operator.dtype, backend=operator.backend)
    found, vectors = (be.to_numpy(part) for part in operator.eigh(3))
    np.testing.assert_allclose(found, [9.0, -8.0, 7.0], rtol=1e-8)
    np.testing.assert_allclose(np.abs(vectors[[0, 1, 2], [0, 1, 2]]), 1.0, rtol=1e-6)
    within(be, operator.norm(2), 9.0, 1e-6)
    with pytest.raises(cv.UnsupportedError, match=r"eigh\(k=20\)"):
        operator.eigh()


def test_draws(be):
    operator, values = free(be), spectrum()
    draws = be.to_numpy(operator.sample(be.rng(0), 40, damping=0.5))
    assert draws.shape == (40, N)
    # Mean of N · 40 independent squares with mean 1 and variance 2.
    assert abs(np.mean(draws**2 * (values + 0.5)) - 1) < 6 * (2 / (40 * N)) ** 0.5


def test_blocks_by_name(be):
    space = cv.ParameterSpace.of({"a": np.zeros(1000), "b": np.zeros(N - 1000)})
    whole = free(be)
    operator = MatrixFree(whole._matmat, N, dtype=whole.dtype, backend=whole.backend, space=space)
    block = operator.block("b")
    assert block.shape == (N - 1000, N - 1000)
    v = np.ones(N - 1000)
    np.testing.assert_allclose(be.to_numpy(block @ be.asarray(v)), spectrum()[1000:])
    with pytest.raises(cv.ShapeError, match="no parameter is called 'c'"):
        operator.block("c")


def test_a_product_that_is_not_symmetric(be):
    rng = np.random.default_rng(0)
    b = rng.uniform(1, 2, N)
    product = Product(free(be), Diagonal(be.asarray(b)))
    v = rng.standard_normal(N)
    np.testing.assert_allclose(be.to_numpy(product.solve(be.asarray(v))), v / (spectrum() * b), rtol=1e-7, atol=1e-8)
    found = be.to_numpy(product.solve(be.asarray(v), damping=0.5))
    np.testing.assert_allclose(found, v / (spectrum() * b + 0.5), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(be.to_numpy(product.T @ be.asarray(v)), spectrum() * b * v)


def test_the_structured_term_makes_conjugate_gradients_quicker():
    """A badly conditioned Kronecker product plus a small matrix-free term: a handful of products instead of hundreds."""
    be, rng = cv.backend("numpy"), np.random.default_rng(0)
    a, b = np.diag(np.geomspace(1e-3, 1e3, 60)), np.diag(np.geomspace(1e-3, 1.0, 100))
    products = []
    entries = rng.uniform(0.5, 1.5, N) * 1e-4

    def small(v):
        products.append(v.shape[1])
        return entries[:, None] * v

    structured = Kronecker([a, b])
    total = Sum([structured, Diagonal(entries)])
    v = rng.standard_normal(N)
    solved = total.solve(v, damping=1e-4)
    expected = v / (np.diag(np.kron(a, b)) + entries + 1e-4)
    np.testing.assert_allclose(solved, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert total.preconditioner(1e-4) is not None
    assert Sum([MatrixFree(small, N, dtype=v.dtype, backend=be)]).preconditioner(1e-4) is None


def test_large_blocks_of_any_structure(be):
    block = free(be)
    operator = BlockDiagonal([block, Dense(be.asarray(np.eye(2)))])
    v = np.ones(N + 2)
    expected = np.concatenate([1 / (spectrum() + 1), [0.5, 0.5]])
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v), damping=1.0)), expected, rtol=1e-7)
    with pytest.warns(cv.EstimatedWarning):
        within(be, operator.trace(), spectrum().sum() + 2, 0.05)
