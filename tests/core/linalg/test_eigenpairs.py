"""Eigenpairs: all copies of multiple eigenvalues, true residuals, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.linalg import eigenpairs
from curvature.linalg import eigenpairs as _front
from curvature.linalg.thick_restart import thick_restart
from curvature.operators import Dense, Diagonal, MatrixFree

N = 200
SPECTRA = {
    "distinct": 1 / np.arange(1, N + 1),
    "of both signs": (-1.0) ** np.arange(N) / np.arange(1, N + 1),
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "of rank 5": np.r_[np.full(5, 3.0), np.zeros(N - 5)],
    "rank-one negative": np.r_[-2.0, np.zeros(N - 1)],
    "in tens": np.repeat(1.6 ** np.arange(N // 10), 10),
    "pairs of opposites": np.repeat(1.5 ** np.arange(N // 8), 8) * np.tile([1.0, -1.0], N // 2),
}
KEY = {"magnitude": np.abs, "largest": lambda x: x, "smallest": lambda x: -x}
CHOICES = [("magnitude", "lanczos"), *((which, method) for which in ("largest", "smallest") for method in ("lanczos", "lobpcg"))]


def check(be, matrix, pairs, k, which, rtol=1e-7):
    """The k wanted eigenvalues, each as often as it is, in order, with orthonormal vectors and true residuals."""
    values, vectors = be.to_numpy(pairs.values), be.to_numpy(pairs.vectors)
    assert values.shape == (k,)
    assert vectors.shape == (len(matrix), k)
    wanted = np.sort(KEY[which](np.linalg.eigvalsh(matrix)))[::-1][:k]
    scale = max(np.max(np.abs(np.linalg.eigvalsh(matrix))), 1e-300)
    np.testing.assert_allclose(KEY[which](values), wanted, atol=rtol * scale)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=100 * np.finfo(values.dtype).eps * k)
    residuals = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(be.to_numpy(pairs.residuals), residuals, atol=1e-3 * rtol * scale)
    assert pairs.converged
    assert np.max(residuals) <= 10 * rtol * scale


@pytest.mark.parametrize(("which", "method"), CHOICES)
@pytest.mark.parametrize("name", SPECTRA)
def test_by_iteration(name, which, method, symmetric, monkeypatch):
    """Without leave to build the matrix: it is the iteration that finds every copy."""
    monkeypatch.setattr(_front_module(), "DENSE", 0)
    matrix = symmetric(SPECTRA[name])
    hard = name == "distinct" and which == "smallest"  # the end where they are dense
    for k in (1, 4, 13):
        if hard:
            continue
        pairs = eigenpairs(Dense(matrix, symmetric=True), k, which=which, method=method, max_products=20_000)
        assert pairs.method == method
        check(cv.backend("numpy"), matrix, pairs, k, which)


def _front_module():
    import sys

    return sys.modules[_front.__module__]


@pytest.mark.parametrize(("which", "method"), CHOICES)
def test_on_every_backend(be, operator, symmetric, which, method):
    for name in ("of both signs", "in tens"):
        matrix = symmetric(SPECTRA[name])
        check(be, matrix, eigenpairs(operator(matrix), 12, which=which, method=method), 12, which)


@pytest.mark.parametrize(("which", "method"), CHOICES)
def test_small_operators_are_exact(be, operator, which, method, symmetric):
    for n, k in ((1, 1), (2, 2), (9, 9), (40, 7), (40, 40), (100, 100)):
        matrix = symmetric(np.sin(np.arange(n)))
        pairs = eigenpairs(operator(matrix, symmetric=True), k, which=which, method=method)
        assert (pairs.method, pairs.products) == ("exact", n)
        check(be, matrix, pairs, k, which, rtol=1e-12)


@pytest.mark.parametrize("which", sorted(KEY))
def test_spaces_that_are_the_whole(symmetric, which):
    """The iteration itself, where its basis fills the space before anything has converged."""
    for n in (1, 2, 5, 12):
        for spectrum in (np.linspace(-1, 2, n), np.zeros(n), np.ones(n)):
            matrix = symmetric(spectrum)
            for k in range(1, n + 1):
                counted = cv.linalg.Counted(Dense(matrix, symmetric=True))
                *_, last = thick_restart(counted, k, which, 1e-10, 1000, counted.backend.rng(0))
                assert last.done
                expected = np.sort(KEY[which](spectrum))[::-1][:k]
                np.testing.assert_allclose(KEY[which](last.values), expected, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    k=st.integers(1, 12),
    which=st.sampled_from(sorted(KEY)),
    seed=st.integers(0, 100),
)
def test_any_multiplicities(counts, k, which, seed):
    """Eigenvalues of any multiplicities over a null space, from any seed."""
    spectrum = np.concatenate([np.full(count, (-1.7) ** i) for i, count in enumerate(counts)] + [np.zeros(100)])
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(spectrum), len(spectrum))))[0]
    matrix = (basis * spectrum) @ basis.T
    pairs = eigenpairs(Dense(matrix, symmetric=True), k, which=which, seed=seed)
    check(cv.backend("numpy"), matrix, pairs, k, which)


@pytest.mark.parametrize("copies", [2, 9, 40])
def test_multiplicity_beyond_the_block(copies):
    spectrum = np.repeat(1 / np.arange(1, 3000 // copies + 1) ** 2, copies)
    pairs = eigenpairs(Diagonal(spectrum), 20)
    np.testing.assert_allclose(pairs.values, spectrum[:20], rtol=1e-10)
    assert pairs.method == "lanczos"


@pytest.mark.parametrize(("which", "method"), CHOICES)
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_float32(be, operator, which, method, size, symmetric):
    matrix = symmetric(SPECTRA["of both signs"])
    pairs = eigenpairs(operator(matrix * size, dtype="float32", symmetric=True), 5, which=which, method=method)
    assert be.to_numpy(pairs.values).dtype == np.float32
    assert be.to_numpy(pairs.vectors).dtype == np.float32
    expected = np.sort(KEY[which](np.linalg.eigvalsh(matrix)))[::-1][:5]
    np.testing.assert_allclose(KEY[which](be.to_numpy(pairs.values).astype(float) / size), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["lanczos", "lobpcg"])
def test_large_and_matrix_free(method):
    n = 100_000
    entries = 1 / np.arange(1, n + 1)
    free = MatrixFree(lambda v: entries[:, None] * v, n, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    pairs = eigenpairs(free, 4, which="largest", method=method)
    np.testing.assert_allclose(pairs.values, entries[:4], rtol=1e-12)
    assert pairs.products < 200


def test_one_seed_is_one_answer_everywhere(be, operator, symmetric):
    matrix = symmetric(SPECTRA["distinct"])
    here, again = (eigenpairs(operator(matrix), 3, seed=5) for _ in range(2))
    numpy = eigenpairs(Dense(matrix), 3, seed=5)
    np.testing.assert_array_equal(be.to_numpy(here.vectors), be.to_numpy(again.vectors))
    assert here.products == numpy.products
    np.testing.assert_allclose(np.abs(np.sum(be.to_numpy(here.vectors) * numpy.vectors, axis=0)), 1, rtol=1e-9)


def test_what_does_not_converge_is_said_with_what_there_is():
    operator = Diagonal(np.linspace(0, 1, 5000))
    for method in ("lanczos", "lobpcg"):
        with pytest.raises(cv.ConvergenceError, match=r"2 eigenpairs \(largest\) did not converge in \d+ products") as caught:
            eigenpairs(operator, 2, which="largest", method=method, max_products=60)
        partial = caught.value.partial
        assert not partial.converged
        assert partial.products <= 60
        vectors = np.asarray(partial.vectors)
        residuals = np.linalg.norm(operator.entries[:, None] * vectors - vectors * partial.values, axis=0)
        np.testing.assert_allclose(partial.residuals, residuals, rtol=1e-6)


def test_where_n_products_were_in_vain_the_matrix_is_built(symmetric):
    matrix = symmetric(np.linspace(0, 1, 300))
    pairs = eigenpairs(Dense(matrix), 20, tolerance=1e-13)
    assert pairs.method == "exact"
    assert pairs.products <= 600


def test_products_that_are_not_those_of_one_matrix(monkeypatch):
    """Products of less precision than they pretend: refused rather than returned as converged."""
    monkeypatch.setattr(_front_module(), "DENSE", 0)
    entries = 1 / np.arange(1.0, 301)
    calls = [0]

    def product(v):
        calls[0] += 1
        return entries[:, None] * v * (1 + 1e-6 * np.sin(calls[0] + np.arange(300.0))[:, None])

    free = MatrixFree(product, 300, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    with pytest.raises(cv.ConvergenceError, match="residuals"):
        eigenpairs(free, 3, tolerance=1e-12)


def test_refusals(bare):
    operator = Diagonal(np.ones(5))
    for k in (0, 6, -1, 2.0, True):
        with pytest.raises(ValueError, match=f"k must lie in 1 … 5, got {k}"):
            eigenpairs(operator, k)
    with pytest.raises(ValueError, match="magnitude, largest, smallest; got 'LM'"):
        eigenpairs(operator, 1, which="LM")
    with pytest.raises(ValueError, match="lanczos and lobpcg; got 'arnoldi'"):
        eigenpairs(operator, 1, method="arnoldi")
    with pytest.raises(ValueError, match="lobpcg finds one end of the spectrum"):
        eigenpairs(operator, 1, method="lobpcg")
    with pytest.raises(cv.NotSymmetricError, match="eigenpairs is defined for symmetric operators"):
        eigenpairs(bare(np.eye(3)), 1)
    with pytest.raises(cv.ShapeError, match="square"):
        eigenpairs(bare(np.ones((2, 3))), 1)
    with pytest.raises(
        ValueError, match="lobpcg for 20 of 100 eigenpairs builds the matrix: 100 products, max_products allows 50"
    ):
        eigenpairs(Diagonal(np.ones(100)), 20, which="largest", method="lobpcg", max_products=50)
    with pytest.raises(cv.ConvergenceError, match="allow more"):
        eigenpairs(Diagonal(np.ones(500)), 10, max_products=5)
