"""Curvature matrices against independent dense references."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv


def network(p, x):
    xp = cv.namespace(x)
    return xp.tanh(x @ p["w"] + p["b"]) @ p["v"]


def forward(p, x):
    return np.tanh(x @ p["w"] + p["b"]) @ p["v"]


@pytest.fixture
def values(generator):
    g = generator
    params = {"b": g.standard_normal(4), "v": g.standard_normal((4, 3)), "w": g.standard_normal((2, 4))}
    return params, g.standard_normal((6, 2)), g.integers(0, 3, 6), g.uniform(0.1, 2, 6)


def make(be, values, *, weights=False, split=False, reduction="mean"):
    params, x, y, w = values
    arrays = {name: be.asarray(value) for name, value in params.items()}
    data = (x, y, w) if weights else (x, y)
    batches = [tuple(be.asarray(a[part]) for a in data) for part in ((slice(0, 2), slice(2, 6)) if split else (slice(None),))]
    return cv.Problem(cv.Model(network, arrays), cv.Categorical(), batches if split else batches[0], reduction=reduction)


def jacobian(params, x):
    """∂f/∂θ by hand, (N, C, P), in the order b, v, w."""
    n, (d, h), c = len(x), params["w"].shape, params["v"].shape[1]
    hidden = np.tanh(x @ params["w"] + params["b"])
    slope = (1 - hidden**2)[:, :, None] * params["v"][None]  # ∂f_c/∂s_h, (N, h, C)
    by_b = np.moveaxis(slope, 2, 1)
    by_v = np.einsum("nh,ce->nche", hidden, np.eye(c)).reshape(n, c, h * c)
    by_w = np.einsum("nd,nhc->ncdh", x, slope).reshape(n, c, d * h)
    return np.concatenate([by_b, by_v, by_w], axis=2)


def reference(values, kind, *, weights=False):
    params, x, y, w = values
    f, j = forward(params, x), jacobian(params, x)
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    score = np.eye(3)[y] - p
    output = np.einsum("nc,nd->ncd", score, score)
    if kind != "empirical":
        output = np.stack([np.diag(q) - np.outer(q, q) for q in p])
    share = w / w.sum() if weights else np.full(len(x), 1 / len(x))
    return np.einsum("n,ncp,ncd,ndq->pq", share, j, output, j)


def finite_difference_hessian(values, share):
    params, x, y, _ = values
    space = cv.ParameterSpace.of(params)
    theta = space.ravel(np, params)

    def gradient(flat):
        q = space.unravel(np, flat)
        f, j = forward(q, x), jacobian(q, x)
        p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
        return np.einsum("n,nc,ncp->p", share, p - np.eye(3)[y], j)

    h = 1e-5
    return np.stack([(gradient(theta + h * e) - gradient(theta - h * e)) / (2 * h) for e in np.eye(len(theta))])


def dense(matrix):
    return matrix.backend.to_numpy(matrix.to_dense())


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_matrices_whatever_the_weights_reduction_and_batches(be, values, weights, split, reduction):
    problem = make(be, values, weights=weights, split=split, reduction=reduction)
    total = values[3].sum() if weights else 6
    scale = 1 if reduction == "mean" else total
    fisher, empirical = reference(values, "fisher", weights=weights), reference(values, "empirical", weights=weights)
    for kind, expected in ((cv.Fisher, fisher), (cv.GGN, fisher), (cv.EmpiricalFisher, empirical)):
        np.testing.assert_allclose(dense(kind(problem)), scale * expected, rtol=1e-11, atol=1e-13)
        for method in ("exact", "diagonal"):
            approximated = dense(cv.approximate(kind(problem), method))
            target = scale * expected if method == "exact" else np.diag(np.diag(scale * expected))
            np.testing.assert_allclose(approximated, target, rtol=1e-11, atol=1e-13)
    share = values[3] / total if weights else np.full(6, 1 / 6)
    np.testing.assert_allclose(
        dense(cv.Hessian(problem)), scale * finite_difference_hessian(values, share), rtol=1e-7, atol=1e-8 * scale
    )


def test_the_jacobian(be, values):
    problem = make(be, values, split=True)
    expected = jacobian(values[0], values[1]).reshape(18, -1)
    j = cv.Jacobian(problem)
    assert j.shape == expected.shape
    np.testing.assert_allclose(dense(j), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dense(j.T), expected.T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(be.to_numpy(j @ problem.params), expected @ problem.space.ravel(np, values[0]), rtol=1e-12)


def test_products_of_trees_vectors_and_matrices_agree(be, values, generator):
    problem = make(be, values)
    v = be.asarray(generator.standard_normal((problem.space.size, 2)))
    for matrix in (cv.Fisher(problem), cv.Hessian(problem), cv.MonteCarloFisher(problem, samples=2), cv.EmpiricalFisher(problem)):
        both = be.to_numpy(matrix @ v)
        one = be.to_numpy(matrix @ v[:, 0])
        tree = matrix @ problem.space.unravel(be.xp, v[:, 0])
        np.testing.assert_allclose(one, both[:, 0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(be.to_numpy(problem.space.ravel(be.xp, tree)), one, rtol=1e-12, atol=1e-14)


def test_solving_linearises_once(be, values, generator):
    problem = make(be, values, split=True)
    b = generator.standard_normal(problem.space.size)
    expected = np.linalg.solve(reference(values, "fisher") + 0.1 * np.eye(len(b)), b)
    np.testing.assert_allclose(be.to_numpy(cv.Fisher(problem).solve(be.asarray(b), damping=0.1)), expected, rtol=1e-8)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("kind", [cv.Fisher, cv.GGN, cv.Hessian, cv.EmpiricalFisher])
def test_forward_passes_are_kept_of_a_single_batch_alone(be, values, generator, kind, split):
    """Those of many would not fit; who knows that they do asks for ``linearised()``."""
    matrix = kind(make(be, values, weights=True, split=split, reduction="sum"))
    v = be.asarray(generator.standard_normal((matrix.shape[0], 3)))
    expected = be.to_numpy(matrix @ v)
    kept = matrix.for_repeated_products()
    assert (kept is matrix) == split
    for other in (kept, matrix.linearised()):
        np.testing.assert_allclose(be.to_numpy(other @ v), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(be.to_numpy(other @ v[:, 1]), expected[:, 1], rtol=1e-11, atol=1e-12)
    assert matrix.linearised() is not matrix


def test_quadratic_forms(be, values, generator):
    problem = make(be, values, weights=True, split=True)
    v = generator.standard_normal((2, problem.space.size))
    trees = [problem.space.unravel(be.xp, be.asarray(row)) for row in v]
    form = be.to_numpy(cv.Fisher(problem).quadratic_forms(trees))
    np.testing.assert_allclose(form, v @ reference(values, "fisher", weights=True) @ v.T, rtol=1e-11)


def test_monte_carlo_is_one_matrix_for_a_seed_and_the_fisher_on_average(be, values):
    problem = make(be, values)
    one, same, other = (dense(cv.MonteCarloFisher(problem, samples=1, seed=s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    draws = np.stack([dense(cv.approximate(cv.MonteCarloFisher(problem, seed=s), "exact")) for s in range(300)])
    error = np.abs(draws.mean(0) - reference(values, "fisher"))
    assert np.all(error < 6 * draws.std(0) / 300**0.5 + 1e-12)


def test_monte_carlo_refuses_data_that_is_shuffled_anew(values):
    params, x, _, _ = values

    class Shuffled:
        def __init__(self):
            self.order = np.arange(6)

        def __iter__(self):
            self.order = np.roll(self.order, 1)
            yield x[self.order], np.arange(6)[self.order] % 3

    problem = cv.Problem(cv.Model(network, params), cv.Categorical(), Shuffled())
    matrix = cv.MonteCarloFisher(problem)
    _ = matrix @ params
    with pytest.raises(cv.DataError, match="switch shuffling off"):
        _ = matrix @ params
    _ = cv.Fisher(problem) @ params


def test_the_empirical_fisher_is_not_the_fisher(values):
    problem = make(cv.backend("numpy"), values)
    gap = np.linalg.norm(dense(cv.EmpiricalFisher(problem)) - dense(cv.Fisher(problem)))
    assert gap > 0.1 * np.linalg.norm(dense(cv.Fisher(problem)))


def test_one_pass_gives_loss_gradient_and_statistics(be, values, monkeypatch):
    """A problem that keeps its forward pass runs the model once for all three, but for two examples that are looked at."""
    calls = []

    def counted(p, x):
        calls.append(x.shape[0])
        return network(p, x)

    params, x, y, _ = values
    arrays = {name: be.asarray(value) for name, value in params.items()}
    task = cv.Problem(cv.Model(counted, arrays), cv.Categorical(), (be.asarray(x), be.asarray(y)))
    cv.approximate(cv.Fisher(task), "kfac")  # the structure is found here
    kept = task.at(keep=True)
    calls.clear()
    loss, gradient = kept.loss_and_gradient()
    cv.approximate(cv.MonteCarloFisher(kept), "kfac")
    assert calls == [6, 2]
    plain_loss, plain = task.loss_and_gradient()
    np.testing.assert_allclose(float(loss), float(plain_loss), rtol=1e-14)
    for name in params:
        np.testing.assert_allclose(be.to_numpy(gradient[name]), be.to_numpy(plain[name]), rtol=1e-12, atol=1e-15)


def test_inputs_are_unchanged(be, values):
    problem = make(be, values)
    before = [be.to_numpy(problem.params[name]).copy() for name in ("b", "v", "w")]
    for matrix in (cv.Fisher(problem), cv.Hessian(problem), cv.EmpiricalFisher(problem)):
        _ = matrix @ problem.params
        cv.approximate(matrix, "exact")
    cv.approximate(cv.Fisher(problem), "kfac")
    for name, old in zip(("b", "v", "w"), before, strict=True):
        np.testing.assert_array_equal(be.to_numpy(problem.params[name]), old)


def test_float32_stays_float32(be, values):
    params, x, y, _ = values
    arrays = {name: be.asarray(value, dtype="float32") for name, value in params.items()}
    problem = cv.Problem(cv.Model(network, arrays), cv.Categorical(), (be.asarray(x, dtype="float32"), be.asarray(y)))
    expected = reference(values, "fisher")
    for method in ("exact", "diagonal", "kfac"):
        operator = cv.approximate(cv.Fisher(problem), method)
        for array in (operator.to_dense(), operator.solve(problem.params, damping=0.1)["w"], operator.inverse(0.1).diagonal()):
            assert str(be.to_numpy(array).dtype) == "float32"
    np.testing.assert_allclose(dense(cv.approximate(cv.Fisher(problem), "exact")), expected, rtol=2e-4, atol=1e-6)
    assert str(be.to_numpy(problem.loss()).dtype) == "float32"


def test_no_columns(be, values):
    problem = make(be, values)
    for matrix in (cv.Fisher(problem), cv.Hessian(problem), cv.Fisher(problem).linearised()):
        assert tuple((matrix @ be.xp.zeros((problem.space.size, 0), dtype=be.xp.float64)).shape) == (problem.space.size, 0)
