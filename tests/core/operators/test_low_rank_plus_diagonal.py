"""Low rank plus diagonal: every operation against the dense matrix, whatever the signs and zeros of its parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense, Diagonal, LowRankPlusDiagonal, inner

P = 8
SPACE = cv.ParameterSpace.of({"a": np.zeros((2, 2)), "b": np.zeros(4)})


def orthonormal(rng, k):
    return np.linalg.qr(rng.standard_normal((P, k)))[0]


def case(name, rng):
    """(d, Y, C), the matrix being nonsingular."""
    d, y = rng.uniform(0.5, 2, P), rng.standard_normal((P, 3))
    core = rng.standard_normal((3, 3))
    return {
        "plain": lambda: (d, y, np.ones(3)),
        "full core": lambda: (d, y, core @ core.T),
        "singular core": lambda: (d, y, np.outer(core[0], core[0])),
        "indefinite core, positive sum": lambda: (d + 5, y / 3, np.array([1.0, -1.0, 0.0])),
        "indefinite": lambda: (d, y, np.array([1.0, -3.0, 2.0])),
        "constant diagonal": lambda: (np.full(P, 0.5), y, core @ core.T),
        "constant, indefinite": lambda: (np.full(P, 0.5), y, np.array([1.0, -3.0, 2.0])),
        "zeros that the columns fill": lambda: (np.where(np.arange(P) < 2, 0.0, d), y, np.ones(3)),
        "tiny entries that the columns fill": lambda: (np.where(np.arange(P) < 3, 1e-14, d), y, np.ones(3)),
        "negative entries that the columns lift": lambda: (np.where(np.arange(P) == 4, -0.1, d), 2 * y, np.ones(3)),
        "negative definite": lambda: (-d, y, -np.ones(3)),
        "indefinite diagonal": lambda: (np.where(np.arange(P) < 4, -d, d), y[:, :1], np.ones(1)),
        "more columns than rows": lambda: (d, rng.standard_normal((P, 11)), rng.uniform(-0.01, 1, 11)),
        "no columns": lambda: (d, y[:, :0], np.ones(0)),
        "core of no columns": lambda: (d, y[:, :0], np.ones((0, 0))),
    }[name]()


NAMES = [
    "plain",
    "full core",
    "singular core",
    "indefinite core, positive sum",
    "indefinite",
    "constant diagonal",
    "constant, indefinite",
    "zeros that the columns fill",
    "tiny entries that the columns fill",
    "negative entries that the columns lift",
    "negative definite",
    "indefinite diagonal",
    "more columns than rows",
    "no columns",
    "core of no columns",
]


@pytest.fixture(params=NAMES)
def parts(request, generator):
    return case(request.param, generator)


@pytest.fixture
def operator(be, parts):
    return LowRankPlusDiagonal(*(be.asarray(part) for part in parts), backend=be, space=SPACE)


@pytest.fixture
def dense(parts):
    return matrix_of(*parts)


def matrix_of(d, y, c):
    return np.diag(d) + y @ (np.diag(c) if c.ndim == 1 else c) @ y.T


def close(operator, found, expected, tolerance=1e-11):
    found = operator.backend.to_numpy(found) if hasattr(found, "shape") else np.asarray(found)
    assert found.shape == np.shape(expected)
    assert np.max(np.abs(found - expected), initial=0.0) <= tolerance * max(1.0, np.max(np.abs(expected), initial=0.0))


def test_products_and_numbers(operator, dense, generator, recwarn):
    a = operator.backend.asarray
    v, m = generator.standard_normal(P), generator.standard_normal((P, 3))
    close(operator, operator @ a(v), dense @ v)
    close(operator, operator @ a(m), dense @ m)
    close(operator, operator.to_dense(), dense)
    close(operator, operator.trace(), np.trace(dense))
    close(operator, operator.diagonal(), np.diag(dense))
    close(operator, operator.norm(), np.linalg.norm(dense))
    assert not recwarn
    close(operator, operator.norm(2), np.linalg.norm(dense, 2))
    with pytest.raises(ValueError, match="the norms are"):
        operator.norm("nuclear")


@pytest.mark.filterwarnings("ignore::curvature.DensifiedWarning")
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_solve_inverse_and_determinant(operator, dense, generator, damping):
    a, shifted = operator.backend.asarray, dense + damping * np.eye(P)
    m = generator.standard_normal((P, 2))
    close(operator, operator.solve(a(m), damping=damping), np.linalg.solve(shifted, m))
    close(operator, operator.solve(a(m[:, 0]), damping=damping), np.linalg.solve(shifted, m[:, 0]))
    close(operator, operator.inverse(damping).to_dense(), np.linalg.inv(shifted))
    if np.linalg.eigvalsh(shifted)[0] > 0:
        close(operator, operator.logdet(damping), np.linalg.slogdet(shifted)[1])
    else:
        with pytest.raises(cv.NotPositiveDefiniteError, match=r"a damping above .* more would do"):
            operator.logdet(damping)


def test_the_damping_that_is_named_would_do(be, generator):
    for name in ("indefinite", "negative definite", "indefinite diagonal", "constant, indefinite"):
        operator = LowRankPlusDiagonal(*(be.asarray(part) for part in case(name, generator)), backend=be)
        with pytest.raises(cv.NotPositiveDefiniteError) as caught:
            operator.logdet()
        named = float(str(caught.value).rpartition("above ")[2].partition(" more")[0])
        expected = np.linalg.slogdet(be.to_numpy(operator.to_dense()) + 1.01 * named * np.eye(P))[1]
        close(operator, operator.logdet(1.01 * named), expected)


def test_the_inverse_keeps_the_structure(operator, dense, parts, recwarn):
    """It is closed: the inverse of the inverse is the operator, and nothing is dense on the way."""
    d, y, _ = parts
    if min(np.sum(d < 0), np.sum(d > 0)) > y.shape[1]:
        with pytest.warns(cv.DensifiedWarning, match="LowRankPlusDiagonal builds a dense 8 × 8"):
            operator.inverse()
        return
    inverse = operator.inverse()
    assert type(inverse) is LowRankPlusDiagonal
    assert inverse.space == SPACE
    close(operator, inverse.inverse().to_dense(), dense)
    assert type(inverse.inverse()) is LowRankPlusDiagonal
    assert not recwarn


@pytest.mark.filterwarnings("ignore::curvature.DensifiedWarning")
def test_powers(operator, dense, parts):
    values, vectors = np.linalg.eigh(dense)
    for p in (0, 1, 2, -1, -2):
        close(operator, operator.power(p).to_dense(), (vectors * values**p) @ vectors.T)
    damping = 1.0 + max(0.0, -values[0])
    for p in (0.5, -0.5, 1 / 3, 3):
        expected = (vectors * (values + damping) ** p) @ vectors.T
        close(operator, operator.power(p, damping).to_dense(), expected)
    if values[0] < -1e-3:
        with pytest.raises(cv.NotPositiveDefiniteError):
            operator.power(0.5)


def test_powers_keep_the_structure_where_they_can(be, generator, recwarn):
    d, y, c = (be.asarray(part) for part in case("constant diagonal", generator))
    constant = LowRankPlusDiagonal(d, y, c, backend=be, space=SPACE)
    for p in (0.5, -0.5, -1, 2, 1 / 3, 0, 1):
        assert type(constant.power(p, 0.1)) is LowRankPlusDiagonal
    varied = LowRankPlusDiagonal(*(be.asarray(part) for part in case("full core", generator)), backend=be)
    for p in (-2, -1, 0, 1, 2):
        assert type(varied.power(p, 0.1)) is LowRankPlusDiagonal
    assert not recwarn
    with pytest.warns(cv.DensifiedWarning, match="power of a LowRankPlusDiagonal"):
        varied.power(0.5)


@pytest.mark.filterwarnings("ignore::curvature.DensifiedWarning")
def test_eigenpairs(operator, dense):
    exact = np.linalg.eigvalsh(dense)
    values, vectors = (operator.backend.to_numpy(x) for x in operator.eigh())
    np.testing.assert_allclose(values, exact, atol=1e-11)
    np.testing.assert_allclose((vectors * values) @ vectors.T, dense, atol=1e-11)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(P), atol=1e-12)
    values, vectors = (operator.backend.to_numpy(x) for x in operator.eigh(5))
    np.testing.assert_allclose(values, exact[np.argsort(-np.abs(exact), kind="stable")][:5], atol=1e-11)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-10)
    with pytest.raises(ValueError, match="k must lie in 1 … 8"):
        operator.eigh(9)


def test_blocks_sums_multiples_and_inner_products(operator, dense, be, generator, recwarn):
    for name, rows in (("a", slice(0, 4)), ("b", slice(4, 8))):
        assert type(operator.block(name)) is LowRankPlusDiagonal
        close(operator, operator.block(name).to_dense(), dense[rows, rows])
    other = LowRankPlusDiagonal(*(be.asarray(part) for part in case("full core", generator)), backend=be)
    diagonal = Diagonal(be.asarray(generator.uniform(0.5, 2, P)), backend=be)
    theirs, entries = be.to_numpy(other.to_dense()), be.to_numpy(diagonal.to_dense())
    for found, expected in (
        (operator + other, dense + theirs),
        (other + operator, dense + theirs),
        (operator - operator, 0 * dense),
        (operator + diagonal, dense + entries),
        (diagonal + operator, dense + entries),
        (2.5 * operator, 2.5 * dense),
        (-operator, -dense),
        (operator / 4.0, dense / 4.0),
    ):
        assert type(found) is LowRankPlusDiagonal
        assert found.space == SPACE
        close(operator, found.to_dense(), expected)
    assert (operator + operator).factor.shape[1] <= min(P, operator.factor.shape[1])
    for b in (other, diagonal, Dense(be.asarray(theirs), backend=be)):
        b_dense = be.to_numpy(b.to_dense())
        close(operator, inner(operator, b), np.sum(dense * b_dense))
        close(operator, inner(b, operator), np.sum(dense * b_dense))
    assert not recwarn


def test_moves_to_another_backend(operator, dense):
    target = cv.backend("torch" if operator.backend.name != "torch" else "numpy")
    moved = operator.to(target)
    assert type(moved) is LowRankPlusDiagonal
    assert moved.space == SPACE
    np.testing.assert_allclose(target.to_numpy(moved.to_dense()), dense, atol=1e-14 * np.max(np.abs(dense)))


def covariance_error(found, target):
    """The largest deviation of an empirical covariance, in standard errors."""
    draws = found.shape[0]
    deviation = np.sqrt((np.outer(np.diag(target), np.diag(target)) + target**2) / draws)
    return np.max(np.abs(found.T @ found / draws - target) / deviation)


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_covariance(be, generator, name, recwarn):
    operator = LowRankPlusDiagonal(*(be.asarray(part) for part in case(name, generator)), backend=be)
    dense = be.to_numpy(operator.to_dense())
    damping = 0.0 if np.linalg.eigvalsh(dense)[0] > 1e-6 else 0.5 - np.linalg.eigvalsh(dense)[0]
    shifted = dense + damping * np.eye(P)
    for inverse, target in ((True, np.linalg.inv(shifted)), (False, shifted)):
        x = be.to_numpy(operator.sample(be.rng(3), 20_000, inverse=inverse, damping=damping))
        assert covariance_error(x, target) < 6
    if damping:
        with pytest.raises(cv.NotPositiveDefiniteError, match="a damping"):
            operator.sample(be.rng(3), 1)
    assert not recwarn  # no P × P matrix, no symmetric root


def test_a_singular_covariance_is_drawn_from_as_it_is(be, generator, recwarn):
    """diag(d) + Y Yᵀ with zeros in d that the columns do not fill."""
    d, y = np.where(np.arange(P) < 6, 0.0, 1.5), generator.standard_normal((P, 2))
    operator = LowRankPlusDiagonal(be.asarray(d), be.asarray(y), backend=be)
    dense = np.diag(d) + y @ y.T
    assert covariance_error(be.to_numpy(operator.sample(be.rng(3), 20_000, inverse=False)), dense) < 6
    for attempt in (lambda: operator.sample(be.rng(3), 1), operator.logdet, operator.inverse, lambda: operator.power(-2)):
        with pytest.raises(cv.SingularMatrixError, match=r"a damping of (.*) or more would do") as caught:
            attempt()
    enough = float(str(caught.value).rpartition("damping of ")[2].partition(" or")[0])
    v = generator.standard_normal(P)
    solved = be.to_numpy(operator.solve(be.asarray(v), damping=enough))
    residual = dense @ solved + enough * solved - v
    assert np.linalg.norm(residual) <= 1e-14 * np.linalg.norm(dense) * np.linalg.norm(solved)
    assert not recwarn


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(0, 6),
    zeros=st.integers(0, 3),
    exponent=st.integers(-10, 6),
    spread=st.integers(0, 8),
    damping=st.sampled_from([0.0, 1e-6, 1.0]),
)
def test_any_positive_matrix_is_solved_as_well_as_it_can_be(seed, k, zeros, exponent, spread, damping):
    """The relative error stays within the condition number times the rounding of a few hundred operations."""
    rng = np.random.default_rng(seed)
    n = 9
    d = 10.0 ** rng.uniform(-spread, 0, n) * 10.0**exponent
    d = np.where(rng.permutation(n) < min(zeros, k), 0.0, d)
    y, core = rng.standard_normal((n, k)), rng.standard_normal((k, k))
    dense = np.diag(d) + y @ core @ core.T @ y.T + damping * np.eye(n)
    values = np.linalg.eigvalsh(dense)
    condition = values[-1] / max(values[0], 1e-300)
    assume(condition < 1e11)
    operator = LowRankPlusDiagonal(d, y, core @ core.T)
    v = rng.standard_normal(n)
    allowed = 2e3 * np.finfo(float).eps * condition
    exact = np.linalg.solve(dense, v)
    assert np.linalg.norm(operator.solve(v, damping=damping) - exact) <= allowed * np.linalg.norm(exact)
    assert abs(float(operator.logdet(damping)) - np.linalg.slogdet(dense)[1]) <= allowed * n
    inverse = np.linalg.inv(dense)
    assert np.linalg.norm(operator.inverse(damping).to_dense() - inverse, 2) <= allowed * np.linalg.norm(inverse, 2)


def test_float32_stays_float32_and_is_as_good(be, generator):
    n, damping = 150, 1e-1
    d, y = generator.uniform(0, 1, n) * 1e-3, generator.standard_normal((n, 4)) * np.array([30.0, 3.0, 0.3, 1e-3])
    core = np.array([1.0, 1.0, 1.0, 0.0])
    operator = LowRankPlusDiagonal(*(be.asarray(part, dtype="float32") for part in (d, y, core)), backend=be)
    dense = matrix_of(d, y, core) + damping * np.eye(n)
    v = generator.standard_normal((n, 2))
    solved = operator.solve(be.asarray(v, dtype="float32"), damping=damping)
    assert solved.dtype == operator.dtype
    expected = np.linalg.solve(dense, v)
    assert np.max(np.abs(be.to_numpy(solved) - expected)) < 2e-3 * np.max(np.abs(expected))
    np.testing.assert_allclose(float(operator.logdet(damping)), np.linalg.slogdet(dense)[1], rtol=1e-5)
    for found in (operator.logdet(damping), operator.trace(), operator.norm(), operator.diagonal()):
        assert found.dtype == operator.dtype
    assert operator.inverse(damping).dtype == operator.power(2).dtype == operator.dtype
    for inverse in (True, False):
        assert operator.sample(be.rng(0), 2, damping=damping, inverse=inverse).dtype == operator.dtype


def test_what_does_not_fit_is_refused(be, generator):
    d, y = be.asarray(np.ones(P)), be.asarray(generator.standard_normal((P, 2)))
    with pytest.raises(cv.ShapeError, match=r"\(P, k\) are needed"):
        LowRankPlusDiagonal(d, be.asarray(np.ones((3, 2))), backend=be)
    with pytest.raises(cv.ShapeError, match="the core of 2 columns"):
        LowRankPlusDiagonal(d, y, be.asarray(np.ones(3)), backend=be)
    with pytest.raises(cv.NotSymmetricError, match="the core is not symmetric"):
        LowRankPlusDiagonal(d, y, be.asarray(np.array([[1.0, 2.0], [0.0, 1.0]])), backend=be)
    with pytest.raises(cv.ShapeError, match="do not fit 3 parameters"):
        LowRankPlusDiagonal(d, y, backend=be, space=cv.ParameterSpace.of(np.zeros(3)))
    with pytest.raises(cv.DataError, match="convert them"):
        LowRankPlusDiagonal(d, be.asarray(np.ones((P, 2)), dtype="float32"), backend=be)
    with pytest.raises(cv.ShapeError, match="no named blocks"):
        LowRankPlusDiagonal(d, y, backend=be).block("a")


def test_a_large_operator_is_never_made_dense(be, generator, recwarn):
    """P² numbers would be 300 GB."""
    n = 200_000
    operator = LowRankPlusDiagonal(
        be.asarray(generator.uniform(1, 2, n)), be.asarray(generator.standard_normal((n, 3))), backend=be
    )
    v = be.asarray(generator.standard_normal((n, 1)))
    back = operator @ operator.solve(v)
    np.testing.assert_allclose(be.to_numpy(back), be.to_numpy(v), atol=1e-9)
    operator.inverse(0.1) @ v
    operator.power(2) @ v
    operator.logdet(), operator.norm(), operator.trace()
    operator.sample(be.rng(0), 1)
    assert not recwarn
