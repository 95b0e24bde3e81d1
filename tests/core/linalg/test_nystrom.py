"""The Nyström approximation and its preconditioner."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import NystromPreconditioner, conjugate_gradient, nystrom
from curvature.operators import Dense, Diagonal

N = 100


def dense(be, u, values):
    u, values = be.to_numpy(u), be.to_numpy(values)
    return (u * values) @ u.T


@pytest.mark.parametrize("rank", [1, 5, 8, 20, N])
def test_exact_from_the_rank_on(be, operator, symmetric, rank):
    """Of a matrix of rank 5: an approximation from below, exact from five columns on."""
    matrix = symmetric(np.r_[5.0, 4.0, 3.0, 2.0, 1.0, np.zeros(N - 5)])
    u, values = nystrom(operator(matrix), rank)
    assert be.to_numpy(u).shape == (N, rank)
    np.testing.assert_allclose(be.to_numpy(u).T @ be.to_numpy(u), np.eye(rank), atol=1e-10)
    assert np.all(np.diff(be.to_numpy(values)) <= 0)
    assert np.all(be.to_numpy(values) >= 0)
    if rank >= 5:
        np.testing.assert_allclose(dense(be, u, values), matrix, atol=1e-6)
    assert np.min(np.linalg.eigvalsh(matrix - dense(be, u, values))) > -1e-6


def test_identity_of_its_definition(be, operator, symmetric):
    """A_nys = (A Ω)(Ωᵀ A Ω)⁺(A Ω)ᵀ, of the range that the vectors span, from below, with an error as of the eigenvalues."""
    matrix = symmetric(1 / np.arange(1, N + 1) ** 2)
    u, values = nystrom(operator(matrix), 20, seed=4)
    approximation = dense(be, u, values)
    numpy = dense(cv.backend("numpy"), *nystrom(Dense(matrix), 20, seed=4))
    np.testing.assert_allclose(approximation, numpy, atol=1e-9)
    gap = np.linalg.eigvalsh(matrix - approximation)
    assert gap[0] > -1e-10
    assert gap[-1] < 10 / 20**2
    # On its own range A_nys is A restricted: A_nys = A Ω (ΩᵀAΩ)⁻¹ Ωᵀ A for any basis Ω of A⁻¹ range(U).
    omega = np.linalg.solve(matrix, be.to_numpy(u))
    expected = be.to_numpy(u) @ np.linalg.solve(omega.T @ be.to_numpy(u), be.to_numpy(u).T)
    np.testing.assert_allclose(approximation, expected, atol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_any_scale(symmetric, size):
    u, values = nystrom(Dense(symmetric(size / np.arange(1, 51) ** 2), symmetric=True), 10)
    assert values[0] / size == pytest.approx(1.0, rel=0.05)
    np.testing.assert_allclose(u.T @ u, np.eye(10), atol=1e-10)


def test_float32(be, operator, symmetric):
    matrix = symmetric(1 / np.arange(1, N + 1) ** 2)
    u, values = nystrom(operator(matrix, dtype="float32"), 20)
    assert be.to_numpy(u).dtype == np.float32
    assert be.to_numpy(values).dtype == np.float32
    assert np.linalg.norm(dense(be, u, values) - matrix) < 0.05


def test_zero():
    u, values = nystrom(Diagonal(np.zeros(9)), 3)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-14)


def test_preconditioner_is_the_inverse_that_it_says(be, operator, symmetric, generator):
    matrix = symmetric(np.r_[5.0, 4.0, 3.0, np.full(N - 3, 0.5)])
    u, values = nystrom(operator(matrix), 10)
    precondition = NystromPreconditioner(u, values, 0.1)
    v = generator.standard_normal((N, 4))
    dense_u, dense_values = be.to_numpy(u), be.to_numpy(values)
    weight = (dense_values[-1] + 0.1) / (dense_values + 0.1)
    expected = dense_u @ (weight[:, None] * (dense_u.T @ v)) + v - dense_u @ (dense_u.T @ v)
    np.testing.assert_allclose(be.to_numpy(precondition(be.asarray(v))), expected, atol=1e-12)


def test_preconditioned_condition_number(symmetric):
    """With a rank of twice the effective dimension and more, what is left is well conditioned (Frangella et al. 2023)."""
    spectrum = 1 / np.arange(1, 301) ** 2
    matrix, damping = symmetric(spectrum), 1e-3
    effective = np.sum(spectrum / (spectrum + damping))
    rank = 2 * int(np.ceil(1.5 * effective)) + 1
    precondition = NystromPreconditioner.of(Dense(matrix), rank, damping)
    inverse = precondition(np.eye(300))
    root = np.linalg.cholesky((inverse + inverse.T) / 2)
    values = np.linalg.eigvalsh(root.T @ (matrix + damping * np.eye(300)) @ root)
    assert values[-1] / values[0] < 28


def test_large(generator):
    entries = 1 / np.arange(1, 20_001) ** 1.5
    a = Diagonal(entries)
    b = generator.standard_normal((20_000, 1))
    found = conjugate_gradient(np, a._matmat, b, damping=1e-5, preconditioner=NystromPreconditioner.of(a, 100, 1e-5), full=True)
    plain = conjugate_gradient(np, a._matmat, b, damping=1e-5, full=True)
    np.testing.assert_allclose(found.solution, b / (entries[:, None] + 1e-5), rtol=1e-5)
    assert found.iterations < plain.iterations / 2


def test_refusals(symmetric, bare):
    for rank in (0, 6, 2.0, True):
        with pytest.raises(ValueError, match=f"rank must lie in 1 … 5, got {rank}"):
            nystrom(Diagonal(np.ones(5)), rank)
    with pytest.raises(cv.NotPositiveDefiniteError, match="eigenvalue of -"):
        nystrom(Dense(symmetric(np.linspace(-1, 1, 30)), symmetric=True), 10)
    with pytest.raises(cv.NotSymmetricError, match="nystrom"):
        nystrom(bare(np.eye(3)), 1)
    for damping in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="damping"):
            NystromPreconditioner(np.eye(3), np.ones(3), damping)
    with pytest.raises(ValueError, match="lower rank needs a damping"):
        NystromPreconditioner(np.eye(3), np.zeros(3), 0.0)
