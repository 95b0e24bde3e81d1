"""The Lanczos process and the orthonormal bases under it."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg.columns import Columns
from curvature.linalg.krylov import Krylov
from curvature.linalg.map import Counted
from curvature.linalg.orthonormal import fresh_directions, orthonormalised
from curvature.operators import Dense, MatrixFree


def test_columns_grow(be, generator):
    whole = generator.standard_normal((7, 13))
    columns, start = Columns(be.xp), 0
    for width in (1, 1, 3, 0, 5, 2, 1):
        columns = columns.with_columns(be.asarray(whole[:, start : start + width]))
        start += width
        assert columns.width == start
        v, c = generator.standard_normal((7, 2)), generator.standard_normal((start, 3))
        rest, pieces = columns.without(be.asarray(v))
        inner = np.concatenate([be.to_numpy(piece) for piece in pieces])
        np.testing.assert_allclose(inner, whole[:, :start].T @ v, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(be.to_numpy(rest), v - whole[:, :start] @ inner, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(be.to_numpy(columns.combine(be.asarray(c))), whole[:, :start] @ c, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(be.to_numpy(columns.all()), whole[:, :start])


@pytest.mark.parametrize("case", ["independent", "nearly dependent", "dependent", "within", "zero", "wide"])
def test_orthonormalised(be, case, generator):
    """v = B C + Q R with Q orthonormal and orthogonal to B, whatever v is."""
    n = 30
    basis = np.linalg.qr(generator.standard_normal((n, 8)))[0]
    v = generator.standard_normal((n, 5))
    rank = 5
    if case == "nearly dependent":
        v[:, 1:] = v[:, :1] + 1e-9 * v[:, 1:]
    elif case == "dependent":
        v[:, 3:], rank = v[:, :2] @ np.asarray([[1.0, 2.0], [3.0, -1.0]]), 3
    elif case == "within":
        v[:, :4], rank = basis[:, :4] * 1e3, 1
    elif case == "zero":
        v, rank = v * 0, 0
    elif case == "wide":
        v, rank = generator.standard_normal((n, 40)), n - 8
    scale = float(np.max(np.linalg.norm(v, axis=0)))
    q, c, r = orthonormalised(be, be.asarray(v), Columns(be.xp, be.asarray(basis)), scale=scale)
    q = be.to_numpy(q)
    assert q.shape == (n, rank)
    np.testing.assert_allclose(q.T @ q, np.eye(rank), atol=1e-13)
    np.testing.assert_allclose(basis.T @ q, 0, atol=1e-13)
    np.testing.assert_allclose(basis @ c + q @ r, v, atol=1e-12 * max(scale, 1))


def test_fresh_directions_fill_what_is_left(be, generator):
    basis = np.linalg.qr(generator.standard_normal((10, 8)))[0]
    q = be.to_numpy(fresh_directions(be, be.rng(0), 10, 5, Columns(be.xp, be.asarray(basis)), be.xp.float64))
    assert q.shape == (10, 2)
    whole = np.concatenate([basis, q], axis=1)
    np.testing.assert_allclose(whole.T @ whole, np.eye(10), atol=1e-13)


@pytest.mark.parametrize("width", [1, 3])
def test_lanczos_relation(be, operator, symmetric, width, generator):
    """A Q = Q T + W B, and Q with W orthonormal to the last digit after many steps."""
    matrix = symmetric(np.r_[1e3, 1e2, 10.0, np.linspace(0, 1, 87)])
    space = Krylov(Counted(operator(matrix)), be.asarray(generator.standard_normal((90, width))))
    for _ in range(60 // width):
        space.step()
    basis, block = be.to_numpy(space.basis.all()), be.to_numpy(space.block)
    whole = np.concatenate([basis, block], axis=1)
    np.testing.assert_allclose(whole.T @ whole, np.eye(whole.shape[1]), atol=1e-13)
    np.testing.assert_allclose(matrix @ basis, basis @ space.projected + block @ space.coupling, atol=1e-10)


def test_it_is_exhausted_where_the_space_is(be, operator, symmetric, generator):
    """Three distinct eigenvalues, one start: three steps, and T has those eigenvalues."""
    matrix = symmetric(np.repeat([1.0, 2.0, 5.0], 10))
    space = Krylov(Counted(operator(matrix)), be.asarray(generator.standard_normal((30, 1))))
    while not space.exhausted:
        space.step()
    np.testing.assert_allclose(space.eigh()[0], [1.0, 2.0, 5.0], rtol=1e-12)


def test_refilled_it_goes_on_to_the_whole_space(be, operator, symmetric, generator):
    matrix = symmetric(np.repeat([1.0, 2.0, 5.0], 10))
    space = Krylov(Counted(operator(matrix)), be.asarray(generator.standard_normal((30, 4))), refill=be.rng(1))
    while not space.exhausted:
        space.step()
    assert space.dimension == 30
    np.testing.assert_allclose(space.eigh()[0], np.repeat([1.0, 2.0, 5.0], 10), rtol=1e-12)


def test_thick_restart_keeps_the_relation(be, operator, symmetric, generator):
    matrix = symmetric(np.linspace(0, 1, 50))
    space = Krylov(Counted(operator(matrix)), be.asarray(generator.standard_normal((50, 2))))
    for _ in range(8):
        space.step()
    values, vectors, _ = space.eigh()
    space.restart(values[-5:], vectors[:, -5:])
    for _ in range(3):
        space.step()
    basis, block = be.to_numpy(space.basis.all()), be.to_numpy(space.block)
    np.testing.assert_allclose(matrix @ basis, basis @ space.projected + block @ space.coupling, atol=1e-12)


def test_what_is_not_symmetric_is_noticed(generator):
    array = np.diag(np.arange(40.0)) + 0.1 * generator.standard_normal((40, 40))
    free = MatrixFree(lambda v: array @ v, 40, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    space = Krylov(Counted(free, text="eigenpairs"), generator.standard_normal((40, 2)))
    with pytest.raises(cv.NotSymmetricError, match=r"eigenpairs needs a symmetric operator; uᵀAv and vᵀAu differ"):
        space.step()


def test_counted_counts_columns_and_scales(be):
    counted = Counted(Dense(be.asarray(np.eye(3) * 2.0**-900), backend=be))
    image = counted._matmat(be.asarray(np.ones((3, 70))))
    assert counted.products == 70
    assert counted.unit == 2.0**-900
    np.testing.assert_array_equal(be.to_numpy(image), 1.0)
