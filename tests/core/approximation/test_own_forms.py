"""Quadratic forms in a matrix that is made of the vectors themselves."""

import numpy as np
import pytest

import curvature as cv
from curvature.approximation import own_forms
from curvature.approximation.own_forms import quadratic_forms

N, D = 12, 40


def draws(seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)), rng.random(N) if weighted else None


def found(be, x, matrix, weights=None):
    """The forms, and whether products of the vectors were asked for."""
    asked = []
    array = be.asarray(x)

    def products():
        asked.append(True)
        return array @ be.xp.matrix_transpose(array)

    forms = quadratic_forms(be, array, be.asarray(matrix), products, None if weights is None else be.asarray(weights))
    return be.to_numpy(forms), bool(asked)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("c", "s"), [(1.0, 0.0), (0.3, 2.0), (0.0, 1.5), (-2.0, 0.1)])
def test_matrices_of_the_vectors_are_recognised(be, weighted, c, s):
    x, weights = draws(weighted=weighted)
    matrix = c * (x.T * (1.0 if weights is None else weights)) @ x + s * np.eye(D)
    forms, recognised = found(be, x, matrix, weights)
    assert recognised
    np.testing.assert_allclose(forms, np.sum((x @ matrix) * x, axis=1), rtol=1e-11)


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_another_matrix_is_taken_as_it_is(be, size):
    """Be it ever so near to one of these."""
    x, _ = draws()
    other, _ = draws(seed=1)
    matrix = x.T @ x + size * other.T @ other
    forms, recognised = found(be, x, matrix)
    assert not recognised
    np.testing.assert_allclose(forms, np.sum((x @ matrix) * x, axis=1), rtol=1e-11)


def test_weights_matter(be):
    x, weights = draws(weighted=True)
    matrix = (x.T * weights) @ x
    assert not found(be, x, matrix)[1]
    assert found(be, x, matrix, weights)[1]


@pytest.mark.parametrize("x", [np.zeros((N, D)), np.eye(N, D), np.ones((2 * D, D))], ids=["zero", "identity", "many"])
def test_vectors_that_say_nothing(be, x):
    matrix = draws()[0].T @ draws()[0]
    np.testing.assert_allclose(found(be, x, matrix)[0], np.sum((x @ matrix) * x, axis=1), rtol=1e-11)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [cv.Fisher, cv.MonteCarloFisher, cv.EmpiricalFisher])
def test_certificates_of_kfac_recognise_its_factors(be, monkeypatch, kind, weighted):
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((7, 30)), rng.integers(0, 25, 7)] + ([rng.random(7)] if weighted else [])
    params = {"weight": be.asarray(rng.standard_normal((30, 25))), "bias": be.asarray(rng.standard_normal(25))}
    model = cv.Model(lambda p, x: x @ p["weight"] + p["bias"], params)
    matrix = kind(cv.Problem(model, cv.Categorical(), tuple(be.asarray(part) for part in data)))
    recognised = []

    def coefficients(*arguments, original=own_forms._coefficients):
        recognised.append(original(*arguments) is not None)
        return original(*arguments)

    monkeypatch.setattr(own_forms, "_coefficients", coefficients)
    operator = cv.approximate(matrix, "kfac")
    one, other = (be.to_numpy(a.to_dense()) for a in (matrix, operator))
    expected = np.linalg.norm(one - other) / np.linalg.norm(one)
    np.testing.assert_allclose(operator.certificate().relative_error, expected, rtol=1e-9)
    assert all(recognised)
    # The 175 gradients of the exact Fisher are more than the 25 outputs: there the inputs alone.
    assert len(recognised) == (1 if kind is cv.Fisher else 2)


def test_what_is_right_along_known_draws_alone_is_another_matrix(be):
    """A low-rank approximation of such a matrix is exact for its own random directions, which one seed makes the same."""
    x, _ = draws()
    omega = be.to_numpy(be.rng(0).normal((3, D))).T
    sketch = x.T @ (x @ omega)
    near = sketch @ np.linalg.solve(omega.T @ sketch, sketch.T)
    assert np.linalg.norm(near @ omega - x.T @ (x @ omega)) < 1e-9 * np.linalg.norm(sketch)
    forms, recognised = found(be, x, near)
    assert not recognised
    np.testing.assert_allclose(forms, np.sum((x @ near) * x, axis=1), rtol=1e-9)
