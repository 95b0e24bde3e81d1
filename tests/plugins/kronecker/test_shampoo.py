"""Shampoo as L ⊗ R / tr L: one step of power iteration from the identity, by hand, and where it is exact."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature.operators import Kronecker, KroneckerEigen
from curvature_conformance.cases.on_scenario import Case
from curvature_conformance.scenarios import all_scenarios
from curvature_conformance.setting import Setting

SCENARIOS = {s.name: s for s in all_scenarios() if not s.batches}


def exact_blocks(matrix, dense):
    structure = matrix.problem.structure
    order = structure.partition.gather(np, np.arange(dense.shape[0])[:, None])
    return {layer: dense[np.ix_(r[:, 0], r[:, 0])] for layer, r in zip(structure.layers, order, strict=True)}


def shape_of(layer, space):
    if layer.kind in ("affine", "grouped", "embedding"):
        return layer.block.shape
    shape = space.shapes[layer.block.leaves[0]]
    return (shape[0], int(np.prod(shape[1:]))) if len(layer.block.leaves) == 1 and len(shape) > 1 else None


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", ["fisher", "empirical-fisher"])
def test_one_step_of_power_iteration_from_the_identity(be, name, kind):
    """With R(F) the rearrangement of F: vec L = R(F) vec I, vec R = R(F)ᵀ vec I; F ≈ L ⊗ R / tr L, which keeps the trace."""
    if be.name == "strict" and kind == "empirical-fisher":
        pytest.skip("enough on the other backends")
    case = Case(Setting(be), SCENARIOS[name])
    matrix = case.matrix(kind)
    operator = cv.approximate(matrix, "shampoo")
    for layer, exact in exact_blocks(matrix, case.references.matrix(kind)).items():
        found, scale = be.to_numpy(operator.block(layer.name).to_dense()), np.linalg.norm(exact)
        shape = shape_of(layer, matrix.problem.space)
        if shape is None:
            np.testing.assert_allclose(found, exact, atol=1e-12 * scale)
            continue
        rows, columns = shape
        rearranged = exact.reshape(rows, columns, rows, columns).transpose(0, 2, 1, 3).reshape(rows**2, columns**2)
        left = (rearranged @ np.eye(columns).ravel()).reshape(rows, rows)
        right = (rearranged.T @ np.eye(rows).ravel()).reshape(columns, columns)
        if layer.kind == "embedding":
            left = np.diag(np.diag(left))
        np.testing.assert_allclose(found, np.kron(left, right) / np.trace(exact), atol=1e-12 * scale)
        np.testing.assert_allclose(np.trace(found), np.trace(exact), rtol=1e-12)


@pytest.mark.parametrize("name", ["one-datum/relu", "one-datum/tanh", "deep-linear/squared-error"])
def test_exact_where_the_block_is_a_kronecker_product(be, name):
    case = Case(Setting(be), SCENARIOS[name])
    matrix = case.matrix("fisher")
    operator = cv.approximate(matrix, "shampoo")
    for layer, exact in exact_blocks(matrix, case.references.fisher).items():
        found = be.to_numpy(operator.block(layer.name).to_dense())
        np.testing.assert_allclose(found, exact, atol=1e-12 * np.linalg.norm(exact))


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def softmax_regression(be, rng, n=6):
    x, y, w = rng.standard_normal((n, 3)), rng.integers(0, 4, n), rng.standard_normal((3, 4))
    f = x @ w
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    gradients = np.einsum("ni,nj->nij", x, np.eye(4)[y] - p)
    task = cv.Problem(cv.Model(lambda q, x: x @ q, be.asarray(w)), cv.Categorical(), (be.asarray(x), be.asarray(y)))
    return cv.EmpiricalFisher(task), gradients


def test_the_original_preconditioner(be, generator):
    """exponent 1/2: the inverse square root of (L ⊗ R)^{1/2} is L^{-1/4} dW R^{-1/4}."""
    matrix, gradients = softmax_regression(be, generator, 12)
    left, right = (np.mean(gradients @ gradients.transpose(0, 2, 1), 0), np.mean(gradients.transpose(0, 2, 1) @ gradients, 0))
    operator = cv.approximate(matrix, "shampoo", exponent=0.5)
    (block,) = operator.blocks.values()
    assert isinstance(block, KroneckerEigen)
    np.testing.assert_allclose(be.to_numpy(operator.to_dense()), np.kron(root(left), root(right)), atol=1e-9)
    direction = be.to_numpy(operator.power(-0.5, 0.1) @ be.asarray(gradients[0].ravel()))
    values, vectors = np.linalg.eigh(np.kron(root(left), root(right)) + 0.1 * np.eye(12))
    np.testing.assert_allclose(direction, (vectors * values**-0.5) @ vectors.T @ gradients[0].ravel(), rtol=1e-9)


def test_a_side_that_is_too_long_keeps_its_diagonal(be, generator):
    matrix, gradients = softmax_regression(be, generator)
    left, right = (np.mean(gradients @ gradients.transpose(0, 2, 1), 0), np.mean(gradients.transpose(0, 2, 1) @ gradients, 0))
    found = cv.approximate(matrix, "shampoo", max_dense=3)
    np.testing.assert_allclose(be.to_numpy(found.to_dense()), np.kron(left, np.diag(np.diag(right))) / np.trace(left), rtol=1e-12)
    found = cv.approximate(matrix, "shampoo", max_dense=2)
    expected = np.kron(np.diag(np.diag(left)), np.diag(np.diag(right))) / np.trace(left)
    np.testing.assert_allclose(be.to_numpy(found.to_dense()), expected, rtol=1e-12, atol=1e-18)


def test_some_examples_at_a_time(be, monkeypatch):
    import curvature_kronecker.scales as module

    matrix = Case(Setting(be), SCENARIOS["convolutional-network/grouped"]).matrix("fisher")
    at_once = be.to_numpy(cv.approximate(matrix, "shampoo").to_dense())
    monkeypatch.setattr(module, "CHUNK", 1)
    np.testing.assert_allclose(be.to_numpy(cv.approximate(matrix, "shampoo").to_dense()), at_once, rtol=1e-12, atol=1e-15)


def test_a_layer_without_gradient_is_zero(be):
    params = [{"weight": be.asarray(np.ones((2, 2))), "bias": be.asarray(np.full(2, -100.0))} for _ in range(2)]
    data = (be.asarray(np.ones((3, 2))), be.asarray(np.array([0, 1, 0])))
    task = cv.Problem(cv.Model(lambda p, x: nn.mlp(p, x, nn.relu), params), cv.Categorical(), data)
    operator = cv.approximate(cv.Fisher(task), "shampoo")
    assert isinstance(next(iter(operator.blocks.values())), Kronecker)
    dense = be.to_numpy(operator.to_dense())
    assert np.isfinite(dense).all()
    assert np.all(dense[:6, :6] == 0)


def test_statistics_merge(be, generator):
    matrix, _ = softmax_regression(be, generator)
    method, task = cv.approximation("shampoo"), matrix.problem
    x, y = task.data.single.x, task.data.single.y
    parts = [cv.estimate(cv.EmpiricalFisher(task.at(data=(x[r, :], y[r]))), method, be) for r in (slice(0, 2), slice(2, 6))]
    merged = cv.build(method, method.merge(parts, [1 / 3, 2 / 3]), task.structure)
    np.testing.assert_allclose(be.to_numpy(merged.to_dense()), be.to_numpy(cv.approximate(matrix, method).to_dense()), rtol=1e-12)


def test_options_are_checked():
    with pytest.raises(cv.DataError, match=r"shampoo: exponent is 1 or 0\.5"):
        cv.approximation("shampoo", exponent=0.25)
