"""Stacks of equal blocks: every operation against the dense matrix made of the same blocks by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense, Diagonal, Kronecker, StackedBlocks, inner


def spd(rng, b, m):
    a = rng.standard_normal((b, m, m))
    return a @ a.transpose(0, 2, 1) + 0.1 * np.eye(m)


def by_hand(blocks, rows):
    """The dense matrix: entry (i, j) of block k stands at the rows of the k-th row (column) of the (B, m) matrix."""
    b, m, _ = blocks.shape
    dense = np.zeros((b * m, b * m))
    for k in range(b):
        at = [k * m + i if rows else i * b + k for i in range(m)]
        dense[np.ix_(at, at)] = blocks[k]
    return dense


@pytest.fixture(params=[True, False], ids=["rows", "columns"])
def rows(request):
    return request.param


@pytest.fixture
def pair(be, generator, rows):
    blocks = spd(generator, 4, 3)
    return StackedBlocks(be.asarray(blocks), rows=rows), by_hand(blocks, rows)


def close(operator, found, expected, tolerance=1e-11):
    np.testing.assert_allclose(operator.backend.to_numpy(found), expected, rtol=tolerance, atol=tolerance)


def test_products_and_dense(pair, be, generator):
    operator, dense = pair
    v = generator.standard_normal((12, 5))
    close(operator, operator.to_dense(), dense)
    close(operator, operator @ be.asarray(v), dense @ v)
    close(operator, operator @ be.asarray(v[:, 0]), dense @ v[:, 0])
    close(operator, operator.T.to_dense(), dense.T)
    close(operator, (operator * 3.0).to_dense(), 3 * dense)


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_solves_powers_and_determinants(pair, be, generator, damping):
    operator, dense = pair
    shifted = dense + damping * np.eye(12)
    v = generator.standard_normal((12, 2))
    close(operator, operator.solve(be.asarray(v), damping=damping), np.linalg.solve(shifted, v))
    close(operator, operator.inverse(damping).to_dense(), np.linalg.inv(shifted))
    close(operator, operator.logdet(damping), np.linalg.slogdet(shifted)[1])
    values, vectors = np.linalg.eigh(shifted)
    for p in (-2, -1, -0.5, 0.5, 2):
        found = operator.power(p, damping)
        assert isinstance(found, StackedBlocks)
        close(operator, found.to_dense(), vectors * values**p @ vectors.T, 1e-9)


def test_numbers(pair):
    operator, dense = pair
    close(operator, operator.diagonal(), np.diag(dense))
    close(operator, operator.trace(), np.trace(dense))
    close(operator, operator.norm(), np.linalg.norm(dense))
    close(operator, operator.norm(2), np.linalg.norm(dense, 2))


@pytest.mark.parametrize("k", [None, 1, 5])
def test_eigenpairs(pair, be, k):
    operator, dense = pair
    values, vectors = (be.to_numpy(x) for x in operator.eigh(k))
    expected = np.linalg.eigvalsh(dense)
    np.testing.assert_allclose(values, expected if k is None else expected[::-1][:k], rtol=1e-10)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-12)


def test_draws_have_the_covariance(pair, be):
    operator, dense = pair
    draws = be.to_numpy(operator.sample(be.rng(0), 20_000, inverse=False))
    assert np.linalg.norm(draws.T @ draws / 20_000 - dense) < 0.05 * np.linalg.norm(dense)


def test_blocks_that_are_not_symmetric(be, generator, rows):
    blocks = generator.standard_normal((4, 3, 3))
    operator, dense = StackedBlocks(be.asarray(blocks), rows=rows), by_hand(blocks, rows)
    assert not operator.symmetric
    v = generator.standard_normal(12)
    close(operator, operator.T.to_dense(), dense.T)
    close(operator, operator.solve(be.asarray(v), damping=0.2), np.linalg.solve(dense + 0.2 * np.eye(12), v), 1e-9)
    close(operator, operator.inverse().to_dense(), np.linalg.inv(dense), 1e-9)
    with pytest.raises(cv.NotSymmetricError):
        operator.logdet()
    blocks[2, :, 0] = 0.0
    with pytest.raises(cv.SingularMatrixError, match="block 2 is singular"):
        StackedBlocks(be.asarray(blocks)).solve(be.asarray(v))


def test_what_is_singular_or_indefinite_names_a_damping(be, generator):
    blocks = spd(generator, 3, 2)
    blocks[1] = np.diag([1.0, 0.0])
    operator = StackedBlocks(be.asarray(blocks))
    v = be.asarray(np.ones(6))
    for operation in (lambda: operator.solve(v), lambda: operator.inverse(), lambda: operator.logdet()):
        with pytest.raises(cv.SingularMatrixError, match=r"a damping of .* or more would do") as caught:
            operation()
    damping = float(str(caught.value).split("a damping of ")[1].split()[0])
    assert np.all(np.isfinite(be.to_numpy(operator.solve(v, damping=damping))))
    blocks[1] = np.diag([1.0, -2.0])
    operator = StackedBlocks(be.asarray(blocks))
    dense = by_hand(blocks, True)
    close(operator, operator.solve(v), np.linalg.solve(dense, np.ones(6)))
    for operation in (lambda: operator.power(0.5), lambda: operator.logdet()):
        with pytest.raises(cv.NotPositiveDefiniteError, match="smallest eigenvalue is -2"):
            operation()


def test_a_small_block_beside_a_large_one_is_not_singular(be):
    """What counts as zero is relative to the block: the scales of two blocks have nothing to do with each other."""
    operator = StackedBlocks(be.asarray(np.stack([1e12 * np.eye(2), 1e-12 * np.diag([1.0, 2.0])])))
    close(operator, operator.solve(be.asarray(np.ones(4))), [1e-12, 1e-12, 1e12, 0.5e12])
    close(operator, operator.power(-0.5).diagonal(), [1e-6, 1e-6, 1e6, 1e6 / 2**0.5])
    close(operator, operator.logdet(), np.log(2.0), 1e-10)


def test_sums_and_products_stay_stacked(pair, be, generator, rows):
    operator, dense = pair
    blocks, entries = spd(generator, 4, 3), generator.uniform(1, 2, 12)
    other, diagonal = StackedBlocks(be.asarray(blocks), rows=rows), Diagonal(be.asarray(entries))
    second = by_hand(blocks, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found, expected in (
            (operator + other, dense + second),
            (operator - other, dense - second),
            (operator + diagonal, dense + np.diag(entries)),
            (diagonal + operator, dense + np.diag(entries)),
            (operator @ other, dense @ second),
            (operator @ diagonal, dense * entries),
            (diagonal @ operator, entries[:, None] * dense),
        ):
            assert isinstance(found, StackedBlocks)
            close(operator, found.to_dense(), expected)
    close(operator, inner(operator, other), np.sum(dense * second))
    close(operator, inner(operator, diagonal), np.sum(np.diag(dense) * entries))
    close(operator, inner(operator, Dense(be.asarray(second))), np.sum(dense * second))


def test_other_layouts_and_structures_are_right_too(pair, be, generator, rows):
    operator, dense = pair
    blocks = spd(generator, 4, 3)
    turned = StackedBlocks(be.asarray(blocks), rows=not rows)
    kronecker = Kronecker([be.asarray(spd(generator, 1, 4)[0]), be.asarray(spd(generator, 1, 3)[0])])
    for other in (turned, kronecker):
        second = be.to_numpy(other.to_dense())
        with pytest.warns(cv.DensifiedWarning):
            close(operator, (operator + other).to_dense(), dense + second)
        with pytest.warns(cv.DensifiedWarning):
            close(operator, (operator @ other).to_dense(), dense @ second)
        close(operator, inner(operator, other), np.sum(dense * second))


def test_a_block_by_its_number_or_its_parameter(be, generator):
    blocks = spd(generator, 2, 3)
    space = cv.ParameterSpace.of({"b": np.zeros(2), "w": np.zeros((2, 2))})
    operator = StackedBlocks(be.asarray(blocks), space=space)
    close(operator, operator.block("1").to_dense(), blocks[1])
    close(operator, operator.block("w").to_dense(), by_hand(blocks, True)[2:, 2:])
    tree = operator @ {"b": be.asarray(np.ones(2)), "w": be.asarray(np.ones((2, 2)))}
    assert tuple(tree["w"].shape) == (2, 2)
    with pytest.raises(cv.ShapeError, match=r"no block is called '7'; they are numbered 0 … 1; or a parameter: b, w"):
        operator.block("7")


def test_moving(pair, rows):
    operator, dense = pair
    moved = operator.to("torch")
    assert isinstance(moved, StackedBlocks)
    assert moved.rows is rows
    close(moved, moved.to_dense(), dense)


def test_float32_stays_float32(be, generator, rows):
    operator = StackedBlocks(be.asarray(spd(generator, 3, 2).astype(np.float32)), rows=rows)
    v = be.asarray(np.ones(6, dtype=np.float32))
    for result in (operator @ v, operator.solve(v, damping=0.1), operator.logdet(0.1), operator.diagonal(), operator.norm()):
        assert result.dtype == v.dtype
    assert operator.inverse(0.1).dtype == v.dtype
    assert operator.power(-0.5, 0.1).dtype == v.dtype


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3), (4,)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(cv.ShapeError, match=r"stacked blocks are an array \(B, m, m\)"):
        StackedBlocks(np.ones(shape))
    with pytest.raises(cv.ShapeError, match="2 blocks of 3 do not fit 2 parameters"):
        StackedBlocks(np.ones((2, 3, 3)), space=cv.ParameterSpace.of([np.zeros(2)]))


@settings(deadline=None, max_examples=25)
@given(b=st.integers(1, 4), m=st.integers(1, 4), rows=st.booleans(), seed=st.integers(0, 100))
def test_any_shape(b, m, rows, seed):
    rng = np.random.default_rng(seed)
    blocks = spd(rng, b, m)
    operator, dense = StackedBlocks(blocks, rows=rows), by_hand(blocks, rows)
    v = rng.standard_normal((b * m, 2))
    np.testing.assert_allclose(operator.solve(operator @ v), v, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(operator.to_dense(), dense)
    np.testing.assert_allclose(operator.scatter(operator.gather(v)), v)
