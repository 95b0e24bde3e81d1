"""Low rank: every operation against the dense matrix, and the structure of what comes out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Diagonal, LowRank, LowRankPlusDiagonal, inner

P = 7


def orthonormal(rng, k, n=P):
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def close(operator, found, expected, tolerance=1e-12):
    found = operator.backend.to_numpy(found) if hasattr(found, "shape") else np.asarray(found)
    assert found.shape == np.shape(expected)
    assert np.max(np.abs(found - expected), initial=0.0) <= tolerance * max(1.0, np.max(np.abs(expected), initial=0.0))


SPACE = cv.ParameterSpace.of({"a": np.zeros((2, 2)), "b": np.zeros(3)})

SPECTRA = {
    "positive": [3.0, 0.5],
    "indefinite": [-2.0, 1.0, 0.25],
    "with a zero": [1.0, 0.0],
    "rank zero": [],
    "full rank": [5.0, 2.0, 1.0, 0.5, 0.25, 3.0, 4.0],
    "full, indefinite": [5.0, -2.0, 1.0, 0.5, -0.25, 3.0, 4.0],
}


@pytest.fixture(params=SPECTRA)
def spectrum(request):
    return np.asarray(SPECTRA[request.param], dtype=float)


@pytest.fixture
def operator(be, generator, spectrum):
    return LowRank(be.asarray(orthonormal(generator, len(spectrum))), be.asarray(spectrum), backend=be, space=SPACE)


@pytest.fixture
def dense(operator):
    host = operator.backend.to_numpy
    u = host(operator.vectors)
    return (u * host(operator.values)) @ u.T


DAMPING = 2.5  # more than any negative eigenvalue


def test_products_and_numbers(operator, dense, generator):
    a = operator.backend.asarray
    v, m = generator.standard_normal(P), generator.standard_normal((P, 3))
    close(operator, operator @ a(v), dense @ v)
    close(operator, operator @ a(m), dense @ m)
    close(operator, operator.to_dense(), dense)
    close(operator, operator.trace(), np.trace(dense))
    close(operator, operator.diagonal(), np.diag(dense))
    close(operator, operator.norm(), np.linalg.norm(dense))
    close(operator, operator.norm(2), np.linalg.norm(dense, 2))
    with pytest.raises(ValueError, match="the norms are"):
        operator.norm("nuclear")


def test_damped_solve_inverse_and_powers(operator, dense, generator, recwarn):
    a, shifted = operator.backend.asarray, dense + DAMPING * np.eye(P)
    m = generator.standard_normal((P, 2))
    close(operator, operator.solve(a(m), damping=DAMPING), np.linalg.solve(shifted, m))
    inverse = operator.inverse(DAMPING)
    assert type(inverse) is (LowRank if operator.rank == P else LowRankPlusDiagonal)
    close(operator, inverse.to_dense(), np.linalg.inv(shifted))
    values, vectors = np.linalg.eigh(shifted)
    for p in (0.5, -0.5, 2, -1, 1 / 3, 0, 1):
        close(operator, operator.power(p, DAMPING).to_dense(), (vectors * values**p) @ vectors.T)
    close(operator, operator.logdet(DAMPING), np.linalg.slogdet(shifted)[1])
    assert not recwarn  # nothing dense


def test_undamped_powers_stay_of_low_rank(operator, dense, spectrum):
    close(operator, operator.power(2).to_dense(), dense @ dense)
    assert isinstance(operator.power(2), LowRank)
    if np.all(spectrum >= 0):
        root = operator.power(0.5)
        assert isinstance(root, LowRank)
        close(operator, (root.to_dense()), operator.backend.to_numpy(Dense(operator.to_dense()).power(0.5).to_dense()), 1e-7)
    else:
        with pytest.raises(cv.NotPositiveDefiniteError, match=r"a damping above .* more would do"):
            operator.power(0.5)


def test_undamped_inverses(operator, dense, spectrum):
    """They exist where all P eigenvalues are there; otherwise the damping that would do is named, and does."""
    b = operator.backend.asarray(np.arange(1.0, P + 1))
    if len(spectrum) == P:
        close(operator, operator.solve(b), np.linalg.solve(dense, np.arange(1.0, P + 1)), 1e-11)
        close(operator, operator.inverse().to_dense(), np.linalg.inv(dense), 1e-11)
        assert isinstance(operator.inverse(), LowRank)
        return
    for attempt in (lambda: operator.solve(b), operator.inverse, lambda: operator.power(-1)):
        with pytest.raises(cv.SingularMatrixError, match=r"a damping of (.*) or more would do") as caught:
            attempt()
    enough = float(str(caught.value).rpartition("a damping of ")[2].partition(" or")[0])
    if np.all(spectrum >= 0):
        operator.solve(b, damping=enough)
    with pytest.raises(cv.NotPositiveDefiniteError):
        operator.logdet()


def test_eigenpairs(operator, dense, recwarn):
    values, vectors = (operator.backend.to_numpy(x) for x in operator.eigh())
    np.testing.assert_allclose(values, np.linalg.eigvalsh(dense), atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(P), atol=1e-12)
    np.testing.assert_allclose((vectors * values) @ vectors.T, dense, atol=1e-12)
    exact = np.linalg.eigvalsh(dense)
    exact = exact[np.argsort(-np.abs(exact), kind="stable")]
    for k in (1, max(1, operator.rank), min(P, operator.rank + 2), P):
        values, vectors = (operator.backend.to_numpy(x) for x in operator.eigh(k))
        np.testing.assert_allclose(values, exact[:k], atol=1e-12)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)
        np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-12)
    with pytest.raises(ValueError, match="k must lie in 1 … 7"):
        operator.eigh(P + 1)
    assert not recwarn


def test_blocks_are_the_rows_of_their_parameter(operator, dense):
    for name, rows in (("a", slice(0, 4)), ("b", slice(4, 7))):
        block = operator.block(name)
        assert isinstance(block, LowRank)
        assert block.rank <= min(operator.rank, block.shape[0])
        close(operator, block.to_dense(), dense[rows, rows])
        u = operator.backend.to_numpy(block.vectors)
        np.testing.assert_allclose(u.T @ u, np.eye(block.rank), atol=1e-12)


def test_sums_multiples_and_inner_products(operator, dense, be, generator, recwarn):
    other = LowRank(be.asarray(orthonormal(generator, 3)), be.asarray(np.array([1.0, -0.5, 2.0])), backend=be, space=SPACE)
    theirs = be.to_numpy(other.to_dense())
    entries = generator.uniform(0.5, 2, P)
    diagonal = Diagonal(be.asarray(entries), backend=be)
    for found, expected, kind in (
        (operator + other, dense + theirs, LowRank),
        (operator - operator, 0 * dense, LowRank),
        (operator + operator, 2 * dense, LowRank),
        (operator + diagonal, dense + np.diag(entries), LowRankPlusDiagonal),
        (diagonal + operator, dense + np.diag(entries), LowRankPlusDiagonal),
        (operator + (other + diagonal), dense + theirs + np.diag(entries), LowRankPlusDiagonal),
        ((other + diagonal) + operator, dense + theirs + np.diag(entries), LowRankPlusDiagonal),
        (2.5 * operator, 2.5 * dense, LowRank),
        (-operator, -dense, LowRank),
        (operator / 4.0, dense / 4.0, LowRank),
    ):
        assert type(found) is kind
        assert found.space == SPACE
        close(operator, found.to_dense(), expected)
    assert (operator - operator).rank == 0
    assert (operator + operator).rank == np.sum(SPECTRUM_OF(operator) != 0)
    assert operator.T is operator
    sum_of_both, full = other + diagonal, Dense(be.asarray(theirs), backend=be)
    for b in (other, diagonal, sum_of_both, full):
        b_dense = be.to_numpy(b.to_dense())
        close(operator, inner(operator, b), np.sum(dense * b_dense))
        close(operator, inner(b, operator), np.sum(dense * b_dense))
    assert not recwarn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        close(operator, (operator @ other).to_dense(), dense @ theirs)
        close(operator, (operator @ diagonal).to_dense(), dense * entries)
    with pytest.raises(cv.ShapeError, match="different parameters"):
        operator + LowRank(other.vectors, other.values, backend=be, space=cv.ParameterSpace.of(np.zeros(P)))


def SPECTRUM_OF(operator):
    return operator.backend.to_numpy(operator.values)


def test_moves_and_trees(operator, dense, generator):
    target = cv.backend("torch" if operator.backend.name != "torch" else "numpy")
    moved = operator.to(target)
    assert type(moved) is LowRank
    assert moved.space == SPACE
    np.testing.assert_array_equal(target.to_numpy(moved.vectors), operator.backend.to_numpy(operator.vectors))
    v = generator.standard_normal(P)
    a = operator.backend.asarray
    image = operator @ {"a": a(v[:4].reshape(2, 2)), "b": a(v[4:])}
    np.testing.assert_allclose(operator.backend.to_numpy(image["b"]), (dense @ v)[4:], atol=1e-12)


def test_samples_have_the_covariance(be, generator):
    operator = LowRank(be.asarray(orthonormal(generator, 2)), be.asarray(np.array([3.0, 0.5])), backend=be)
    dense, draws = be.to_numpy(operator.to_dense()), 20_000
    for inverse, damping in ((True, 0.3), (False, 0.3), (False, 0.0)):
        shifted = dense + damping * np.eye(P)
        target = np.linalg.inv(shifted) if inverse else shifted
        x = be.to_numpy(operator.sample(be.rng(1), draws, inverse=inverse, damping=damping))
        deviation = np.sqrt((np.outer(np.diag(target), np.diag(target)) + target**2) / draws)
        assert np.all(np.abs(x.T @ x / draws - target) < 6 * deviation)
    with pytest.raises(cv.SingularMatrixError, match="a damping of"):
        operator.sample(be.rng(1), 2)


def test_of_factor_is_the_product_of_any_factor_with_its_transpose(be, generator):
    for shape, rank in (((P, 3), 3), ((P, 12), P), ((P, 0), 0)):
        y = generator.standard_normal(shape)
        operator = LowRank.of_factor(be.asarray(y), backend=be, space=SPACE)
        assert operator.rank == rank
        close(operator, operator.to_dense(), y @ y.T)
    dependent = generator.standard_normal((P, 2)) @ generator.standard_normal((2, 5))
    operator = LowRank.of_factor(be.asarray(dependent), backend=be)
    assert operator.rank == 2
    close(operator, operator.to_dense(), dependent @ dependent.T)
    # The small singular values are found to their own precision, which squares would lose.
    scaled = orthonormal(generator, 2) * np.array([1.0, 1e-10])
    np.testing.assert_allclose(SPECTRUM_OF(LowRank.of_factor(be.asarray(scaled), backend=be)), [1, 1e-20], rtol=1e-4)


def test_of_product_takes_a_core(be, generator):
    y = generator.standard_normal((P, 4))
    core = generator.standard_normal((4, 4))
    core = core + core.T
    close(operator := LowRank.of_product(be.asarray(y), be.asarray(core), backend=be), operator.to_dense(), y @ core @ y.T)
    values = SPECTRUM_OF(operator)
    assert np.all(np.diff(np.abs(values)) <= 0)


def test_what_does_not_fit_is_refused(be, generator):
    u, a = orthonormal(generator, 2), be.asarray
    with pytest.raises(cv.DataError, match=r"not \(UᵀU differs from I by .*LowRank.of_factor"):
        LowRank(a(2 * u), a(np.array([1.0, 2.0])), backend=be)
    LowRank(a(2 * u), a(np.array([1.0, 2.0])), backend=be, orthonormal=True)  # the caller's own word
    with pytest.raises(cv.ShapeError, match="k values are needed"):
        LowRank(a(u), a(np.array([1.0, 2.0, 3.0])), backend=be)
    with pytest.raises(cv.ShapeError, match="does not fit 11 parameters"):
        LowRank(a(u), a(np.array([1.0, 2.0])), backend=be, space=cv.ParameterSpace.of(np.zeros(11)))
    with pytest.raises(cv.DataError, match="convert one of them"):
        LowRank(a(u), be.asarray([1.0, 2.0], dtype="float32"), backend=be)
    with pytest.raises(cv.DataError, match="real floating"):
        LowRank(a(u), a([1, 2]), backend=be)
    with pytest.raises(cv.ShapeError, match="no named blocks"):
        LowRank(a(u), a(np.array([1.0, 2.0])), backend=be).block("a")


def test_float32_stays_float32_and_is_as_good(be, generator):
    u, values = orthonormal(generator, 3, 200), np.array([1e3, 1.0, 1e-2])
    operator = LowRank(be.asarray(u, dtype="float32"), be.asarray(values, dtype="float32"), backend=be)
    exact, v, damping = (u * values) @ u.T, generator.standard_normal((200, 2)), 1e-2
    solved = operator.solve(be.asarray(v, dtype="float32"), damping=damping)
    assert solved.dtype == operator.dtype
    expected = np.linalg.solve(exact + damping * np.eye(200), v)
    assert np.max(np.abs(be.to_numpy(solved) - expected)) < 1e-4 * np.max(np.abs(expected))
    for found in (operator.logdet(damping), operator.trace(), operator.norm(), operator.norm(2), operator.diagonal()):
        assert found.dtype == operator.dtype
    assert operator.inverse(damping).dtype == operator.power(0.5, damping).dtype == operator.dtype
    assert operator.sample(be.rng(0), 2, damping=damping).dtype == operator.dtype
    np.testing.assert_allclose(float(operator.logdet(damping)), np.linalg.slogdet(exact + damping * np.eye(200))[1], rtol=1e-5)


def test_a_large_operator_is_never_made_dense(be, generator, recwarn):
    """P² numbers would be 3 TB."""
    n = 200_000
    y = generator.standard_normal((n, 3))
    operator = LowRank.of_factor(be.asarray(y), backend=be)
    v = be.asarray(y[:, :1])
    operator.solve(v, damping=1.0)
    operator.inverse(1.0).solve(v)
    operator.power(-0.5, 1.0) @ v
    operator.eigh(5)
    operator.sample(be.rng(0), 1, damping=1.0)
    ((operator + operator) + Diagonal(be.asarray(np.ones(n)), backend=be)).logdet()
    assert not recwarn
