"""Layers of every kind: their gradients, squares and second moments are those of the dense Jacobian, without a fallback."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv

TOKENS = np.array([[0, 1, 1], [2, 2, 2], [3, 0, 4], [1, 4, 4], [0, 0, 3]])


def scale_and_shift(p, x):
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(x * p["scale"] + p["shift"]) @ p["w"], axis=1)


def scale_alone(p, x):
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(p["scale"] * x) @ p["w"], axis=1)


def channels(p, x):
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(x * xp.reshape(p["scale"], (1, 3, 1)) + xp.reshape(p["shift"], (1, 3, 1))), axis=2) @ p["w"]


def rows(xp, table, tokens):
    return xp.reshape(xp.take(table, xp.reshape(tokens, (-1,)), axis=0), (*tokens.shape, table.shape[1]))


def embedding(p, x):
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(rows(xp, p["table"], x) @ p["w"]), axis=1)


def tied_embedding(p, x):
    """A table that is also the transposed head."""
    xp = cv.namespace(x)
    hidden = xp.tanh(xp.sum(rows(xp, p["table"], x) @ p["w"], axis=1))
    return hidden @ xp.matrix_transpose(p["table"])


def positions(p, x):
    """A table of positions, longer than what is used of it."""
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(x + p["table"][:4, :]) @ p["w"], axis=1)


def parts(p, x):
    """One array that holds two weights."""
    xp = cv.namespace(x)
    return xp.tanh(x @ p["w"][:, :4]) @ p["w"][:, 4:]


def grouped(p, x):
    xp = cv.namespace(x)
    stack = xp.reshape(p["w"], (2, 2, 3))
    y = xp.tanh(x @ xp.matrix_transpose(stack) + xp.reshape(p["b"], (2, 1, 2)))
    return xp.sum(xp.sum(y, axis=2), axis=1)


CASES = {
    "scale and shift": (scale_and_shift, {"scale": (3,), "shift": (3,), "w": (3, 2)}, (5, 4, 3), {"scale+shift": "scale"}),
    "scale alone": (scale_alone, {"scale": (3,), "w": (3, 2)}, (5, 4, 3), {"scale": "scale"}),
    "channels": (channels, {"scale": (3,), "shift": (3,), "w": (3, 2)}, (5, 3, 4), {"scale+shift": "scale"}),
    "embedding": (embedding, {"table": (5, 3), "w": (3, 2)}, None, {"table": "embedding"}),
    "tied embedding": (tied_embedding, {"table": (5, 3), "w": (3, 3)}, None, {"table": "mixed"}),
    "positions": (positions, {"table": (6, 3), "w": (3, 2)}, (5, 4, 3), {"table": "mixed"}),
    "parts": (parts, {"w": (4, 6)}, (5, 4), {"w": "mixed"}),
    "grouped": (grouped, {"w": (4, 3), "b": (4,)}, (5, 2, 3, 3), {"w+b": "grouped"}),
}


def make(be, case, generator, weights=None):
    apply, shapes, x_shape, _ = CASES[case]
    params = {name: be.asarray(generator.standard_normal(shape)) for name, shape in shapes.items()}
    x = be.asarray(TOKENS if x_shape is None else generator.standard_normal(x_shape))
    outputs = apply(params, x)
    y = be.asarray(np.arange(5) % int(outputs.shape[1]))
    data = (x, y) if weights is None else (x, y, be.asarray(weights))
    return cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data)


def example_rows(problem):
    """Gradients (N, R, P) weighted with the factor, from the dense Jacobian, and the weights of the examples."""
    be = problem.backend
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense())
    batch = next(problem.batches())
    factor = be.to_numpy(problem.likelihood.fisher_factor(problem.outputs(problem.params, batch)))
    n, c, _ = factor.shape
    weights = np.full(n, 1 / n) if batch.weights is None else be.to_numpy(batch.weights) / be.to_numpy(batch.weights).sum()
    return np.einsum("ncp,ncr->nrp", jacobian.reshape(n, c, -1), factor), weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_exact_and_diagonal(be, generator, case, weighted):
    problem = make(be, case, generator, np.array([1.0, 0.5, 2.0, 0.0, 1.5]) if weighted else None)
    rows, weights = example_rows(problem)
    expected = np.einsum("n,nrp,nrq->pq", weights, rows, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = be.to_numpy(cv.approximate(cv.Fisher(problem), "exact").to_dense())
        diagonal = be.to_numpy(cv.approximate(cv.Fisher(problem), "diagonal").diagonal())
    assert CASES[case][3].items() <= {layer.name: layer.kind for layer in problem.uses()}.items()
    assert problem.uses().general == {}
    np.testing.assert_allclose(exact, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(diagonal, np.diag(expected), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_each_example(be, generator, case):
    problem = make(be, case, generator)
    rows, _ = example_rows(problem)
    evaluation = problem.evaluate(next(problem.batches()))
    factor = problem.likelihood.fisher_factor(evaluation.outputs)
    partition = problem.structure.partition
    blocks = [value.gradients(slice(1, 4)) for value in evaluation.layers(factor)]
    for n in range(3):
        flat = partition.scatter(problem.xp, [block[n, ...] for block in blocks])
        np.testing.assert_allclose(be.to_numpy(flat).T, rows[1 + n], rtol=1e-10, atol=1e-13)


def test_kfac_of_an_embedding_keeps_its_diagonal(be, generator):
    """A = Σ_t e eᵀ averaged is diag(how often each row is used), G = the average of g gᵀ over positions."""
    problem = make(be, "embedding", generator)
    evaluation = problem.evaluate(next(problem.batches()))
    factor = cv.Fisher(problem).output_factor(evaluation)
    (value,) = (v for v in evaluation.layers(factor) if v.layer.name == "table")
    g = be.to_numpy(value.cotangents)
    frequencies = np.bincount(TOKENS.ravel(), minlength=5) / 5
    expected = np.kron(np.diag(frequencies), np.einsum("ntir,ntjr->ij", g, g) / 3)
    block = cv.approximate(cv.Fisher(problem), "kfac").block("table")
    np.testing.assert_allclose(be.to_numpy(block.to_dense()), expected, rtol=1e-10, atol=1e-13)
    v = generator.standard_normal(15)
    solved = be.to_numpy(block.solve(be.asarray(v), damping=0.1))
    np.testing.assert_allclose(solved, np.linalg.solve(expected + 0.1 * np.eye(15), v), rtol=1e-9)


def test_kfac_of_groups_averages_a_over_them(be, generator):
    problem = make(be, "grouped", generator)
    x = be.to_numpy(problem.data.single.x)
    evaluation = problem.evaluate(next(problem.batches()))
    factor = cv.Fisher(problem).output_factor(evaluation)
    (value,) = evaluation.layers(factor)
    g = be.to_numpy(value.cotangents)
    inputs = np.concatenate([x, np.ones((5, 2, 3, 1))], axis=3)
    a = np.einsum("ngti,ngtj->ij", inputs, inputs) / (5 * 2)
    expected = np.kron(np.einsum("ntir,ntjr->ij", g, g) / 3, a)
    kfac = cv.approximate(cv.Fisher(problem), "kfac")
    (block,) = kfac.blocks.values()
    np.testing.assert_allclose(be.to_numpy(block.to_dense()), expected, rtol=1e-10, atol=1e-13)


def test_the_report_says_what_every_parameter_is(generator):
    be = cv.backend("numpy")

    def apply(p, x):
        return cv.namespace(x).tanh(x * p["scale"] + p["shift"]) @ p["w"] ** 3

    params = {name: generator.standard_normal(shape) for name, shape in {"scale": (3,), "shift": (3,), "w": (3, 2)}.items()}
    params["idle"] = np.zeros(2)
    problem = cv.Problem(cv.Model(apply, params, backend=be), cv.Gaussian(), (np.ones((4, 3)), np.zeros((4, 2))))
    with pytest.warns(cv.UnusedParameterWarning):
        report = problem.uses()
    assert report.kinds == {"scale": "scale", "shift": "scale", "w": "general", "idle": "general"}
    assert report.general == {"w": "enters through pow"}
    assert report.unused == ("idle",)
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "kind", "shape", "used"]
    assert any("scale+shift" in line and "(3,) + (3,)" in line and "1 ×" in line for line in lines)
    assert any(line.startswith("idle") and "never" in line for line in lines)
    assert lines[-1] == "3 layers, 1 on the general path"


@pytest.mark.parametrize("sizes", [(4, 1), (1, 4)])
def test_without_inputs_a_batch_of_one_is_like_any_other(be, sizes):
    """Repeating the outputs for one example does nothing, so there is no repetition to be seen."""
    y = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [1.0, 1.0], [0.0, 4.0]])
    batches, start = [], 0
    for size in sizes:
        batches.append((None, be.asarray(y[start : start + size])))
        start += size
    problem = cv.Problem(cv.Model(lambda params, x: params, be.asarray(np.array([0.3, -0.2]))), cv.Poisson(), batches)
    diagonal = be.to_numpy(cv.approximate(cv.Fisher(problem), "diagonal").diagonal())
    np.testing.assert_allclose(diagonal, np.exp([0.3, -0.2]), rtol=1e-12)
