"""Every operation of every operator against the dense matrix, on every backend."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Block, BlockDiagonal, Dense, Diagonal, Kronecker, KroneckerEigen, MatrixFree, Partition


def spd(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.1 * np.eye(n)


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def layered_partition():
    """A layer with its weight stored (2, 3) and a bias of 2, joined as [W | b], and a vector of 3."""
    space = cv.ParameterSpace.of({"a": {"bias": np.zeros(2), "weight": np.zeros((2, 3))}, "z": np.zeros(3)})
    layer = Block("layer", (1, 0), ((2, 3), (2, 1)), axis=1)
    return Partition(space, (layer, Block("rest", (2,), ((3, 1),))))


def operators(be, rng):
    a = be.asarray
    q, w = [orthogonal(rng, 2), orthogonal(rng, 3)], rng.uniform(0.5, 2, (2, 3))
    blocks = {"layer": Kronecker([a(spd(rng, 2)), a(spd(rng, 4))]), "rest": Dense(a(spd(rng, 3)))}
    return {
        "dense": Dense(a(spd(rng, 5))),
        "diagonal": Diagonal(a(rng.uniform(0.5, 2, 5))),
        "kronecker": Kronecker([a(spd(rng, 2)), a(spd(rng, 3))]),
        "kronecker of three": Kronecker([a(spd(rng, 2)), a(spd(rng, 3)), a(spd(rng, 2))]),
        "kronecker-eigen": KroneckerEigen([a(x) for x in q], a(w)),
        "diagonal ⊗ dense": KroneckerEigen([None, a(q[1])], a(w)),
        "dense ⊗ diagonal": KroneckerEigen([a(q[0]), None], a(w)),
        "block-diagonal": BlockDiagonal([Diagonal(a(rng.uniform(1, 2, 2))), Dense(a(spd(rng, 3)))]),
        "laid-out blocks": BlockDiagonal(blocks, partition=layered_partition()),
    }


CASES = [
    "dense",
    "diagonal",
    "kronecker",
    "kronecker of three",
    "kronecker-eigen",
    "diagonal ⊗ dense",
    "dense ⊗ diagonal",
    "block-diagonal",
    "laid-out blocks",
]


@pytest.fixture(params=CASES)
def operator(request, be, generator):
    return operators(be, generator)[request.param]


@pytest.fixture
def dense(operator):
    return operator.backend.to_numpy(operator.to_dense())


def close(actual, expected, tolerance=1e-12):
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    assert np.shape(actual) == np.shape(expected)
    assert np.max(np.abs(np.asarray(actual) - expected), initial=0.0) <= tolerance * scale


def numpy_of(operator, x):
    return operator.backend.to_numpy(x)


def test_the_layout_joins_weight_and_bias(be, generator):
    """Π diag(A_i) Πᵀ is what indexing the joined matrix [W | b] by hand gives."""
    operator = operators(be, generator)["laid-out blocks"]
    # Flat order: bias (2), weight (2 × 3), z (3); [W | b] in row-major order.
    order = [2, 3, 4, 0, 5, 6, 7, 1]
    block = numpy_of(operator, operator.block("layer").to_dense())
    expected = np.zeros((11, 11))
    expected[np.ix_(order, order)] = block
    expected[8:, 8:] = numpy_of(operator, operator.block("rest").to_dense())
    close(numpy_of(operator, operator.to_dense()), expected)


def test_products(operator, dense, generator):
    n = dense.shape[0]
    v, m = generator.standard_normal(n), generator.standard_normal((n, 4))
    a = operator.backend.asarray
    close(numpy_of(operator, operator @ a(v)), dense @ v)
    close(numpy_of(operator, operator @ a(m)), dense @ m)
    close(numpy_of(operator, operator.T @ a(v)), dense.T @ v)


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_solve_inverse_and_powers(operator, dense, generator, damping):
    n = dense.shape[0]
    shifted = dense + damping * np.eye(n)
    m = generator.standard_normal((n, 2))
    a = operator.backend.asarray
    close(numpy_of(operator, operator.solve(a(m), damping=damping)), np.linalg.solve(shifted, m), 1e-11)
    close(numpy_of(operator, operator.solve(a(m[:, 0]), damping=damping)), np.linalg.solve(shifted, m[:, 0]), 1e-11)
    close(numpy_of(operator, operator.inverse(damping).to_dense()), np.linalg.inv(shifted), 1e-11)
    values, vectors = np.linalg.eigh(shifted)
    for p in (0.5, -0.5, 2, -1, 1 / 3):
        close(numpy_of(operator, operator.power(p, damping).to_dense()), (vectors * values**p) @ vectors.T, 1e-11)


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_scalars(operator, dense, damping):
    n = dense.shape[0]
    close(float(operator.logdet(damping)), np.linalg.slogdet(dense + damping * np.eye(n))[1])
    close(float(operator.trace()), np.trace(dense))
    close(float(operator.norm()), np.linalg.norm(dense))
    close(float(operator.norm(2)), np.linalg.norm(dense, 2))
    close(numpy_of(operator, operator.diagonal()), np.diag(dense))


def test_eigenpairs(operator, dense):
    values, vectors = (numpy_of(operator, x) for x in operator.eigh())
    close(values, np.linalg.eigvalsh(dense))
    close((vectors * values) @ vectors.T, dense)
    close(vectors.T @ vectors, np.eye(dense.shape[0]))
    top, leading = (numpy_of(operator, x) for x in operator.eigh(2))
    close(top, np.sort(np.linalg.eigvalsh(dense))[::-1][:2])
    close(dense @ leading, leading * top)
    with pytest.raises(ValueError, match="k must lie in"):
        operator.eigh(dense.shape[0] + 1)


def test_samples_have_the_covariance(operator, dense):
    draws = 20_000
    for inverse in (True, False):
        target = np.linalg.inv(dense) if inverse else dense
        x = numpy_of(operator, operator.sample(operator.backend.rng(1), draws, inverse=inverse))
        assert x.shape == (draws, dense.shape[0])
        # Each entry of the sample covariance has variance (t_ii t_jj + t_ij²) / draws; six of them bound all.
        deviation = np.sqrt((np.outer(np.diag(target), np.diag(target)) + target**2) / draws)
        assert np.all(np.abs(x.T @ x / draws - target) < 6 * deviation)


def test_numbers_times_operators_keep_the_structure(operator, dense):
    for scaled in (operator * 2.5, 2.5 * operator, operator / 0.4):
        assert type(scaled) is type(operator)
        close(numpy_of(operator, scaled.to_dense()), 2.5 * dense)
    close(numpy_of(operator, (-operator).to_dense()), -dense)


def test_sums_and_products(operator, dense):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        close(numpy_of(operator, (operator + operator).to_dense()), 2 * dense)
        close(numpy_of(operator, (operator - operator).to_dense()), 0 * dense)
        close(numpy_of(operator, (operator @ operator).to_dense()), dense @ dense)


def test_moves_to_another_backend(operator, dense):
    target = cv.backend("torch" if operator.backend.name != "torch" else "numpy")
    moved = operator.to(target)
    assert type(moved) is type(operator)
    assert moved.backend.name == target.name
    close(target.to_numpy(moved.to_dense()), dense)


def test_matrix_free_against_dense(be, generator):
    matrix = spd(generator, 6)
    array = be.asarray(matrix)
    operator = MatrixFree(lambda v: array @ v, 6, dtype=array.dtype, backend=be)
    b = generator.standard_normal(6)
    close(be.to_numpy(operator.solve(be.asarray(b), damping=0.1)), np.linalg.solve(matrix + 0.1 * np.eye(6), b), 1e-8)
    with pytest.warns(cv.DensifiedWarning, match="trace|diagonal"):
        close(float(operator.trace()), np.trace(matrix))
    with pytest.warns(cv.DensifiedWarning):
        close(float(operator.logdet(0.1)), np.linalg.slogdet(matrix + 0.1 * np.eye(6))[1])
    close(be.to_numpy((operator + operator.scaled(2.0)) @ be.asarray(b)), 3 * matrix @ b)
    close(be.to_numpy((operator @ operator) @ be.asarray(b)), matrix @ matrix @ b)


def test_an_indefinite_matrix_that_is_singular_too_is_called_indefinite(be):
    """A damping that makes it regular does not make it positive."""
    matrix = Dense(be.asarray(np.diag([-0.5, 0.0, 1.0])), backend=be)
    with pytest.raises(cv.NotPositiveDefiniteError, match=r"a damping above 0\.5 more would do") as raised:
        matrix.power(-0.5)
    assert not isinstance(raised.value, cv.SingularMatrixError)
    with pytest.raises(cv.SingularMatrixError):
        matrix.power(-1)
