"""Statistics of parts of the data make those of the whole, for every partition."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv

PARTITIONS = ["layer", "parameter", "output-unit", {"weights": "*.w", "biases": "*.b"}, [0, 1, 2] * 7 + [0, 3]]


@pytest.mark.parametrize("kind", [cv.Fisher, cv.Hessian])
@pytest.mark.parametrize("partition", PARTITIONS, ids=["layer", "parameter", "output-unit", "groups", "labels"])
def test_parts_of_the_data_merge(be, tasks, kind, partition):
    whole = tasks(be, "mlp")
    batch = whole.data.single
    parts = [
        cv.Problem(whole.model, whole.likelihood, (batch.x[rows, ...], batch.y[rows, ...])) for rows in (slice(0, 2), slice(2, 6))
    ]
    method = cv.approximation("block-diagonal", partition=partition)
    merged = method.merge([cv.estimate(kind(part), method, be) for part in parts], [2 / 6, 4 / 6])
    operator = cv.build(method, merged, whole.structure)
    expected = cv.approximate(kind(whole), method)
    np.testing.assert_allclose(tasks.dense(operator), tasks.dense(expected), rtol=1e-10, atol=1e-14)


def test_a_moving_average_of_batches(tasks):
    """With equal weights for as many updates as there are batches it is the average over all of them."""
    be = cv.backend("numpy")
    whole = tasks(be, "mlp")
    batch = whole.data.single
    average = cv.MovingAverage(cv.approximation("block-diagonal", partition="output-unit"), decay=0.999)
    for start in (0, 2, 4):
        rows = slice(start, start + 2)
        average = average.update(cv.GGN(cv.Problem(whole.model, whole.likelihood, (batch.x[rows], batch.y[rows]))))
    expected = cv.approximate(cv.GGN(whole), average.method)
    np.testing.assert_allclose(average.operator(whole.structure).to_dense(), expected.to_dense(), rtol=1e-10, atol=1e-14)


def test_different_choices_of_auto_do_not_merge(tasks):
    be = cv.backend("numpy")
    matrix = cv.Fisher(tasks(be, "mlp"))
    loose = cv.approximation("block-diagonal", partition="auto", coupling=0.0)
    tight = cv.approximation("block-diagonal", partition="auto", coupling=10.0)
    one, other = (cv.estimate(matrix, method, be) for method in (loose, tight))
    with pytest.raises(cv.DataError, match=r"two different partitions do not merge.*partition=operator.report.plan"):
        loose.merge([one, other], [0.5, 0.5])
    with pytest.raises(cv.DataError, match="do not merge"):
        loose.merge([one, cv.estimate(matrix, cv.approximation("block-diagonal"), be)], [0.5, 0.5])
    merged = loose.merge([one, one], [0.25, 0.75])
    operator = cv.build(loose, merged, matrix.problem.structure)
    np.testing.assert_allclose(operator.to_dense(), matrix.to_dense(), rtol=1e-10, atol=1e-14)
    assert operator.report == cv.build(loose, one, matrix.problem.structure).report


def test_one_pass_with_other_methods(be, tasks):
    """Asked for together, methods share their passes and give what they give alone."""
    matrix = cv.Fisher(tasks(be, "pooled"))
    methods = [
        "exact",
        "diagonal",
        "block-diagonal",
        cv.approximation("block-diagonal", partition="output-unit"),
        cv.approximation("block-diagonal", partition="auto", probes=3),
    ]
    for together, method in zip(cv.approximate(matrix, methods), methods, strict=True):
        np.testing.assert_allclose(tasks.dense(together), tasks.dense(cv.approximate(matrix, method)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("partition", ["layer", "output-unit"])
def test_natural_gradient_descends(tasks, partition):
    problem = tasks(cv.backend("numpy"), "mlp")
    optimiser = cv.NaturalGradient(cv.approximation("block-diagonal", partition=partition), damping=0.1)
    state, params, losses = optimiser.init(problem), problem.params, [float(problem.loss())]
    for _ in range(5):
        params, state, _ = optimiser.step(params, state, (problem.data.single.x, problem.data.single.y))
        losses.append(float(problem.at(params).loss()))
    assert losses[-1] < 0.5 * losses[0]
