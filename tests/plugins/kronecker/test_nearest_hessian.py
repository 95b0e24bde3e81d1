"""The nearest Kronecker products of the blocks of a Hessian, which may be indefinite, against the dense Hessian."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import KroneckerEigen
from curvature_kronecker.nearest import NearestKronecker


def network(be, rng, n=5, weights=None, reduction="mean", bias=True, likelihood=None, hidden=3):
    """tanh and softmax, or squared error; both layouts of a weight."""

    def apply(params, x):
        xp = cv.namespace(x)
        s = x @ params["a"]["w"]
        h = xp.tanh(s + params["a"]["b"]) if bias else xp.tanh(s)
        f = h @ xp.matrix_transpose(params["b"]["w"])
        return f + params["b"]["b"] if bias else f

    shapes = {"a": {"w": (2, hidden), "b": (hidden,)}, "b": {"w": (3, hidden), "b": (3,)}}
    params = {
        layer: {key: be.asarray(rng.standard_normal(shape)) for key, shape in parts.items() if bias or key == "w"}
        for layer, parts in shapes.items()
    }
    x, y = rng.standard_normal((n, 2)), rng.standard_normal((n, 3)) if likelihood else rng.integers(0, 3, n)
    data = (be.asarray(x), be.asarray(y)) if weights is None else (be.asarray(x), be.asarray(y), be.asarray(weights))
    return cv.Problem(cv.Model(apply, params), likelihood or cv.Categorical(), data, reduction=reduction)


def blocks(matrix):
    be, structure = matrix.backend, matrix.problem.structure
    dense = be.to_numpy(matrix.to_dense())
    places = structure.partition.gather(np, np.arange(len(dense))[:, None])
    return {layer.name: dense[np.ix_(p[:, 0], p[:, 0])] for layer, p in zip(structure.layers, places, strict=True)}


def rearranged(layer, block):
    rows, columns = layer.block.shape
    return block.reshape(rows, columns, rows, columns).transpose(0, 2, 1, 3).reshape(rows**2, columns**2)


def check(matrix, rank=1):
    """‖M - Σ A ⊗ G‖² = Σ of the squares of the singular values left out, of the dense rearrangement."""
    be, found = matrix.backend, cv.approximate(matrix, NearestKronecker(rank=rank, iterations=30, tolerance=1e-13))
    for layer in matrix.problem.structure.layers:
        block = blocks(matrix)[layer.name]
        values = np.linalg.svd(rearranged(layer, block), compute_uv=False)
        error = np.linalg.norm(be.to_numpy(found.block(layer.name).to_dense()) - block)
        assert abs(error**2 - np.sum(values[rank:] ** 2)) <= 1e-9 * np.sum(values**2), layer.name
    return found


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_blocks_of_a_tanh_network(be, generator, bias, rank):
    """With a bias by second derivatives of the re-weighted loss, without one from the block itself."""
    matrix = cv.Hessian(network(be, generator, bias=bias))
    assert min(np.linalg.eigvalsh(block).min() for block in blocks(matrix).values()) < -1e-3
    check(matrix, rank)


def test_squared_error_weights_reduction_and_batches(be, generator):
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0])
    for reduction in ("mean", "sum"):
        check(cv.Hessian(network(be, generator, weights=weights, reduction=reduction, likelihood=cv.Gaussian(0.7))))
    task = network(be, generator, n=4)
    x, y = task.data.single.x, task.data.single.y
    batched = task.at(data=[(x[:2, ...], y[:2]), (x[2:, ...], y[2:])])
    one, two = (cv.approximate(cv.Hessian(t), NearestKronecker(rank=2, iterations=3)).to_dense() for t in (task, batched))
    np.testing.assert_allclose(be.to_numpy(one), be.to_numpy(two), atol=1e-12)


def test_one_example_is_a_product(be, generator):
    """H_l = Hz_l ⊗ ā āᵀ for any activation (Botev, Ritter and Barber 2017)."""
    matrix = cv.Hessian(network(be, generator, n=1))
    found = cv.approximate(matrix, NearestKronecker())
    for name, block in blocks(matrix).items():
        np.testing.assert_allclose(be.to_numpy(found.block(name).to_dense()), block, atol=1e-13)


def test_positions_embeddings_and_other_layers_are_formed(be, generator):
    def apply(params, x):
        xp = cv.namespace(params["w"])
        rows = xp.reshape(xp.take(params["e"], xp.reshape(x, (-1,)), axis=0), (x.shape[0], x.shape[1], 2))
        return xp.sum(xp.tanh(rows @ params["w"] + params["b"]), axis=1) * params["s"]

    shapes = {"e": (4, 2), "w": (2, 3), "b": (3,), "s": (3,)}
    params = {name: be.asarray(generator.standard_normal(shape)) for name, shape in shapes.items()}
    data = (be.asarray(generator.integers(0, 4, (5, 2))), be.asarray(generator.integers(0, 3, 5)))
    matrix = cv.Hessian(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    found = cv.approximate(matrix, NearestKronecker())
    expected = blocks(matrix)
    np.testing.assert_allclose(be.to_numpy(found.block("s").to_dense()), expected["s"], atol=1e-13)
    by_row = expected["e"].reshape(4, 2, 4, 2)[np.arange(4), :, np.arange(4), :].reshape(4, 4)
    first = np.linalg.svd(by_row, compute_uv=False)[0]
    error = np.linalg.norm(be.to_numpy(found.block("e").to_dense()) - expected["e"])
    np.testing.assert_allclose(error**2, np.sum(expected["e"] ** 2) - first**2, rtol=1e-9)
    symmetric = be.to_numpy(found.block("w+b").to_dense())
    inner = np.sum(symmetric * expected["w+b"])
    np.testing.assert_allclose(inner, np.sum(symmetric**2), rtol=1e-9)  # it is a projection of the block
    assert inner > 0


def test_projections_of_an_indefinite_product(be, generator):
    matrix = cv.Hessian(network(be, generator))
    options = ({}, {"projection": "psd"}, {"projection": "absolute", "gamma": 0.3})
    plain, positive, damped = (cv.approximate(matrix, NearestKronecker(iterations=4, **given)) for given in options)
    for name, block in plain.blocks.items():
        values, vectors = np.linalg.eigh(be.to_numpy(block.to_dense()))
        for found, kept in ((positive, np.maximum(values, 0)), (damped, np.abs(values) + 0.09)):
            assert isinstance(found.block(name), KroneckerEigen)
            np.testing.assert_allclose(be.to_numpy(found.block(name).to_dense()), (vectors * kept) @ vectors.T, atol=1e-12)


def test_a_dense_block_is_projected_too(be, generator):
    def apply(params, x):
        return cv.namespace(x).tanh(x * params["s"]) @ params["w"]

    params = {"s": be.asarray(generator.standard_normal(3)), "w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((4, 3))), be.asarray(generator.integers(0, 2, 4)))
    matrix = cv.Hessian(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    values, vectors = np.linalg.eigh(blocks(matrix)["s"])
    assert values[0] < -1e-4
    found = cv.approximate(matrix, NearestKronecker(projection="psd", gamma=0.2)).block("s")
    np.testing.assert_allclose(be.to_numpy(found.to_dense()), (vectors * (np.maximum(values, 0) + 0.04)) @ vectors.T, atol=1e-13)


def test_a_block_that_would_be_too_large_is_refused(generator):
    be = cv.backend("numpy")
    matrix = cv.Hessian(network(be, generator, bias=False))
    with pytest.raises(cv.UnsupportedError, match=r"'a.w' .* by 6 Hessian products.*max_dense=5.*curvature.GGN"):
        cv.approximate(matrix, NearestKronecker(max_dense=5))
    # With a bias nothing is formed.
    cv.approximate(cv.Hessian(network(be, generator)), NearestKronecker(max_dense=0))
