"""Rows of all parameters at once, and outputs that are small differences of large numbers."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv


def summed(terms, backwards):
    """The sum of the columns, from the left or from the right: equal up to rounding."""
    columns = range(int(terms.shape[1]))
    total = None
    for i in reversed(columns) if backwards else columns:
        total = terms[:, i] if total is None else total + terms[:, i]
    return total


def test_residuals_that_are_nearly_zero_are_not_taken_for_coupled_examples(be, generator):
    """Near the solution of an equation outputs are rounding of large terms, which depends on the size of the batch."""
    known = generator.standard_normal(7)
    x = generator.standard_normal((12, 7))

    def residual(p, x):
        backwards = int(x.shape[0]) < 12  # as a library may, which adds in another order for other shapes
        return summed(x * p, backwards) - summed(x * be.asarray(known), False)

    problem = cv.Problem(
        cv.Model(residual, be.asarray(known + 1e-15)), cv.Gaussian(), (be.asarray(x), be.asarray(np.zeros((12, 1))))
    )
    gram = x.T @ x / 12
    found = be.to_numpy(cv.approximate(cv.Fisher(problem), "exact").to_dense())
    np.testing.assert_allclose(found, gram, rtol=1e-9, atol=1e-12)


def test_examples_that_are_coupled_are_refused_there_too(be, generator):
    known, x = generator.standard_normal(7), generator.standard_normal((12, 7))

    def residual(p, x):
        xp = cv.namespace(p)
        centred = x - xp.mean(x, axis=0, keepdims=True)
        return xp.sum(centred * p, axis=1) * 1e-6

    problem = cv.Problem(cv.Model(residual, be.asarray(known)), cv.Gaussian(), (be.asarray(x), be.asarray(np.zeros((12, 1)))))
    with pytest.raises(cv.ModelError, match="couples its examples"):
        cv.approximate(cv.Fisher(problem), "kfac")


def test_rows_of_all_parameters(be, generator):
    """RᵀR of the rows is the matrix, with weights and scale, also where parameters enter in ways that are not known."""

    def apply(p, x):
        xp = cv.namespace(p["a"])
        return xp.exp(xp.sum(p["a"] * p["a"]) * x) * p["b"]

    x, y = generator.standard_normal((9, 2)), generator.standard_normal((9, 2))
    weights = generator.uniform(0.5, 2, 9)
    params = {"a": be.asarray(0.3 * generator.standard_normal(3)), "b": be.asarray(np.array([1.5]))}
    data = tuple(be.asarray(array) for array in (x, y, weights))
    problem = cv.Problem(cv.Model(apply, params), cv.Gaussian(0.7), data, reduction="sum")
    matrix = cv.Fisher(problem)
    rows = be.to_numpy(matrix.example_rows(problem.evaluate(problem.data.single)))
    assert rows.shape == (18, 4)
    np.testing.assert_allclose(rows.T @ rows, be.to_numpy(matrix.to_dense()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 4), (4, 4), (3, 5)])
def test_the_triangle_of_a_decomposition(be, generator, shape):
    a = generator.standard_normal(shape)
    found = be.to_numpy(be.triangle(be.asarray(a)))
    assert found.shape == (min(shape), shape[1])
    np.testing.assert_allclose(found, np.triu(found), atol=1e-13)
    np.testing.assert_allclose(found.T @ found, a.T @ a, rtol=1e-10, atol=1e-12)
