"""A matrix that is diagonal in a thin Kronecker-factored basis, against the dense matrix that its definition gives."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Kronecker, KroneckerEigen


def orthonormal(rng, n, r):
    return np.linalg.qr(rng.standard_normal((n, r)))[0]


SHAPES = {
    "both thin": ((4, 2), (5, 3)),
    "one thin": ((3, 3), (5, 2)),
    "one thin beside the identity": (None, (4, 2)),
    "thin beside the identity": ((4, 1), None),
    "three": ((2, 1), (3, 2), (2, 2)),
    "complete": ((2, 2), (3, 3)),
}


@pytest.fixture(params=SHAPES)
def shapes(request):
    return SHAPES[request.param]


@pytest.fixture(params=[0.0, 0.7])
def complement(request):
    return request.param


def made(be, rng, shapes, complement):
    bases = [None if shape is None else orthonormal(rng, *shape) for shape in shapes]
    values = rng.uniform(0.5, 2.0, tuple(3 if shape is None else shape[1] for shape in shapes))
    operator = KroneckerEigen(
        [None if q is None else be.asarray(q) for q in bases], be.asarray(values), complement=complement, backend=be
    )
    q = np.ones((1, 1))
    for basis in bases:
        q = np.kron(q, np.eye(3) if basis is None else basis)
    n = q.shape[0]
    return operator, q @ np.diag(values.ravel()) @ q.T + complement * (np.eye(n) - q @ q.T)


def close(operator, found, expected, tolerance=1e-12):
    np.testing.assert_allclose(operator.backend.to_numpy(found), expected, rtol=tolerance, atol=tolerance)


def test_it_is_what_its_definition_says(be, generator, shapes, complement):
    operator, dense = made(be, generator, shapes, complement)
    assert operator.shape == dense.shape
    v = generator.standard_normal((dense.shape[0], 3))
    close(operator, operator.to_dense(), dense)
    close(operator, operator @ be.asarray(v), dense @ v)
    close(operator, operator @ be.asarray(v[:, 0]), dense @ v[:, 0])
    close(operator, operator.trace(), np.trace(dense))
    close(operator, operator.diagonal(), np.diag(dense))
    close(operator, operator.norm(), np.linalg.norm(dense))
    close(operator, operator.norm(2), np.linalg.norm(dense, 2))
    close(operator, operator.scaled(-2.5).to_dense(), -2.5 * dense)


def test_damped_functions(be, generator, shapes, complement):
    operator, dense = made(be, generator, shapes, complement)
    n, damping = dense.shape[0], 0.3
    shifted = dense + damping * np.eye(n)
    v = generator.standard_normal((n, 2))
    close(operator, operator.solve(be.asarray(v), damping=damping), np.linalg.solve(shifted, v))
    close(operator, operator.logdet(damping), np.linalg.slogdet(shifted)[1])
    values, vectors = np.linalg.eigh(shifted)
    for p in (-1, 2, 0, 0.5, -0.5):
        power = operator.power(p, damping)
        assert isinstance(power, KroneckerEigen)
        assert [None if q is None else q.shape for q in power.bases] == [None if q is None else q.shape for q in operator.bases]
        close(operator, power.to_dense(), (vectors * values**p) @ vectors.T)
    close(operator, operator.inverse(damping).inverse().to_dense(), shifted)


def test_undamped_powers(be, generator, shapes, complement):
    operator, dense = made(be, generator, shapes, complement)
    values, vectors = np.linalg.eigh(dense)
    for p in (1, 2, 0.5):
        close(operator, operator.power(p).to_dense(), (vectors * np.clip(values, 0, None) ** p) @ vectors.T, 1e-7)
    if complement == 0 and operator.codimension:
        assert operator.power(2).complement == 0
        for singular in (lambda: operator.inverse(), lambda: operator.logdet(), lambda: operator.solve(be.asarray(dense))):
            with pytest.raises(cv.SingularMatrixError, match=r"a damping of .* would do"):
                singular()
    else:
        close(operator, operator.inverse().to_dense(), np.linalg.inv(dense))
        close(operator, operator.logdet(), np.linalg.slogdet(dense)[1])


def test_eigenpairs(be, generator, shapes, complement):
    operator, dense = made(be, generator, shapes, complement)
    n = dense.shape[0]
    values, vectors = (be.to_numpy(x) for x in operator.eigh())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(dense), atol=1e-13)
    np.testing.assert_allclose((vectors * values) @ vectors.T, dense, atol=1e-13)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-13)
    for k in (1, 2, n):
        top, leading = (be.to_numpy(x) for x in operator.eigh(k))
        np.testing.assert_allclose(top, np.sort(np.linalg.eigvalsh(dense))[::-1][:k], atol=1e-13)
        np.testing.assert_allclose(dense @ leading, leading * top, atol=1e-13)
    completed = operator.completed()
    assert completed.codimension == 0
    close(operator, completed.to_dense(), dense)


def test_samples(be, generator):
    operator, dense = made(be, generator, SHAPES["both thin"], 0.0)
    draws = 20_000
    x = be.to_numpy(operator.sample(be.rng(1), draws, damping=0.5))
    target = np.linalg.inv(dense + 0.5 * np.eye(len(dense)))
    deviation = np.sqrt((np.outer(np.diag(target), np.diag(target)) + target**2) / draws)
    assert np.all(np.abs(x.T @ x / draws - target) < 6 * deviation)


def test_a_complement_that_is_an_array_moves_along(be, generator):
    operator, dense = made(be, generator, SHAPES["both thin"], 0.0)
    damped = operator.inverse(0.5)
    assert damped.complement.shape == ()
    moved = damped.to("numpy", dtype="float32")
    assert moved.to_dense().dtype == np.float32
    np.testing.assert_allclose(moved.to_dense(), np.linalg.inv(dense + 0.5 * np.eye(len(dense))), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit():
    with pytest.raises(cv.ShapeError, match=r"bases \[\(2, 3\)\] do not fit eigenvalues \(3,\)"):
        KroneckerEigen([np.ones((2, 3))], np.ones(3))
    with pytest.raises(cv.ShapeError, match="do not fit"):
        KroneckerEigen([np.ones((4, 3)), None], np.ones((2, 2)))
    with pytest.raises(cv.ShapeError, match="do not fit"):
        KroneckerEigen([None], np.ones((2, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_small_damping_is_enough_for_a_large_product(generator, dtype):
    """The error of its eigenvalues does not grow with their number: damping far below λ_max · eps · n is fine."""
    be = cv.backend("numpy", dtype=dtype)
    operator = Kronecker([be.asarray(spd(generator, 60, 20)), be.asarray(spd(generator, 50, 20))])
    for damping in (1e-3, 1e-4):
        v = be.asarray(generator.standard_normal(3000))
        solved = operator.solve(v, damping=damping)
        assert solved.dtype == v.dtype
        residual = operator @ solved + damping * solved - v
        assert np.linalg.norm(residual) <= (0.1 if dtype == "float32" else 1e-9) * np.linalg.norm(v)
        assert np.isfinite(operator.logdet(damping))
        assert np.isfinite(operator.power(-0.5, damping) @ v).all()
    with pytest.raises(cv.SingularMatrixError):
        operator.eigenbasis().inverse()
    with pytest.raises(cv.SingularMatrixError):
        operator.logdet()


def spd(rng, n, rank):
    a = rng.standard_normal((n, rank))
    return a @ a.T / rank


def test_powers_are_kept_for_one_damping_at_a_time(be, generator):
    operator, dense = made(be, generator, SHAPES["both thin"], 0.0)
    v = generator.standard_normal(len(dense))
    for damping in (0.3, 0.3, 0.5, 0.3):
        expected = np.linalg.solve(dense + damping * np.eye(len(dense)), v)
        close(operator, operator.solve(be.asarray(v), damping=damping), expected)
        close(
            operator,
            operator.power(2, damping).trace(),
            np.trace((dense + damping * np.eye(len(dense))) @ (dense + damping * np.eye(len(dense)))),
        )


@pytest.mark.parametrize("place", [0, 1])
def test_a_factor_that_is_diagonal_itself_brings_no_error(generator, place):
    """Rows of an embedding are used once or a million times: each is as well conditioned as the other factor."""
    be = cv.backend("numpy", dtype="float32")
    basis = orthonormal(generator, 4, 4)
    used, others = np.logspace(-6, 3, 40), np.asarray([1e-3, 0.1, 1.0, 2.0])
    factors = [(None, used), (basis, others)]
    (first, a), (second, b) = factors if place == 0 else factors[::-1]
    bases = [None if q is None else be.asarray(q) for q in (first, second)]
    operator = KroneckerEigen(bases, be.asarray(a[:, None] * b[None, :]), backend=be)
    v = be.asarray(generator.standard_normal(160))
    solved = operator.solve(v)
    np.testing.assert_allclose(operator @ solved, v, rtol=1e-3, atol=1e-3)
    expected = 4 * np.log(used).sum() + 40 * np.log(others).sum()
    np.testing.assert_allclose(operator.logdet(), expected, rtol=1e-5)
    lost = b.copy() if place == 0 else a.copy()
    lost[0] = 1e-9  # an eigenvalue of the other factor that is rounding
    singular = KroneckerEigen(bases, be.asarray(a[:, None] * lost if place == 0 else lost[:, None] * b), backend=be)
    with pytest.raises(cv.SingularMatrixError, match=r"a damping of .* would do"):
        singular.solve(v)
    with pytest.raises(cv.SingularMatrixError):
        singular.logdet()
