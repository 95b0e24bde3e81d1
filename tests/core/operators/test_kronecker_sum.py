"""Sums of Kronecker products, and the form in which two of them are diagonal at once, against the dense matrix."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Kronecker, KroneckerCongruence, KroneckerSum


def spd(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.1 * np.eye(n)


def symmetric(rng, n):
    a = rng.standard_normal((n, n))
    return (a + a.T) / 2


def arrays(rng, case):
    """Factors of each term."""
    definite, small = [spd(rng, 3), spd(rng, 4)], [0.1 * symmetric(rng, 3), 0.1 * symmetric(rng, 4)]
    rank_one = [np.outer(v, v) for v in (rng.standard_normal(3), rng.standard_normal(4))]
    return {
        "one": [definite],
        "definite first": [definite, small],
        "definite last": [small, definite],
        "negative factors": [small, [-definite[0], -definite[1]]],
        "a difference": [definite, [-0.5 * rank_one[0] / np.trace(rank_one[0]), 0.1 * definite[1]]],
        "three": [definite, small, rank_one],
        "none definite": [rank_one, small],
        "three factors": [[spd(rng, 2), spd(rng, 3), spd(rng, 2)], [symmetric(rng, 2), symmetric(rng, 3), spd(rng, 2)]],
        "not symmetric": [[rng.standard_normal((2, 2)), rng.standard_normal((3, 3))] for _ in range(2)],
    }[case]


CASES = [
    "one",
    "definite first",
    "definite last",
    "negative factors",
    "a difference",
    "three",
    "none definite",
    "three factors",
    "not symmetric",
]
DIAGONALISED = CASES[1:5]


def kron(factors):
    out = np.eye(1)
    for factor in factors:
        out = np.kron(out, factor)
    return out


def made(be, rng, case):
    terms = arrays(rng, case)
    return KroneckerSum([[be.asarray(f) for f in term] for term in terms], backend=be), sum(kron(term) for term in terms)


def close(be, actual, expected, tolerance=1e-12):
    actual = be.to_numpy(actual) if be.owns(actual) else np.asarray(actual)
    scale = max(1.0, float(np.max(np.abs(expected))))
    assert np.shape(actual) == np.shape(expected)
    assert np.max(np.abs(actual - expected)) <= tolerance * scale


@pytest.fixture(autouse=True)
def densified_is_fine():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        yield


@pytest.mark.parametrize("case", CASES)
def test_what_is_exact_for_any_number_of_terms(be, generator, case, recwarn):
    operator, dense = made(be, generator, case)
    n = dense.shape[0]
    v = generator.standard_normal((n, 2))
    close(be, operator.to_dense(), dense)
    close(be, operator @ be.asarray(v), dense @ v)
    close(be, operator @ be.asarray(v[:, 0]), dense @ v[:, 0])
    close(be, operator.T @ be.asarray(v), dense.T @ v)
    close(be, operator.trace(), np.trace(dense))
    close(be, operator.diagonal(), np.diag(dense))
    close(be, operator.norm(), np.linalg.norm(dense))
    close(be, (operator * -2.0).to_dense(), -2 * dense)
    assert isinstance(operator * -2.0, KroneckerSum)
    assert operator.symmetric is (case != "not symmetric")


@pytest.mark.parametrize("case", ["one", *DIAGONALISED])
def test_two_terms_are_solved_in_a_basis_that_diagonalises_both(be, generator, case):
    operator, dense = made(be, generator, case)
    v = generator.standard_normal((dense.shape[0], 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(be, operator.solve(be.asarray(v)), np.linalg.solve(dense, v), 1e-10)
        close(be, operator.inverse().to_dense(), np.linalg.inv(dense), 1e-10)
        close(be, operator.power(-1).to_dense(), np.linalg.inv(dense), 1e-10)
        close(be, operator.logdet(), np.linalg.slogdet(dense)[1], 1e-10)
    if case != "one":
        assert isinstance(operator.inverse(), KroneckerCongruence)
        close(be, operator.simultaneous().to_dense(), dense)


@pytest.mark.parametrize("case", ["three", "none definite", "three factors"])
def test_other_sums_are_solved_as_any_operator(be, generator, case):
    operator, dense = made(be, generator, case)
    assert operator.simultaneous() is None
    shifted = dense + 3.0 * np.eye(len(dense))
    v = generator.standard_normal(len(dense))
    close(be, operator.solve(be.asarray(v), damping=3.0), np.linalg.solve(shifted, v), 1e-10)
    close(be, operator.inverse(3.0).to_dense(), np.linalg.inv(shifted), 1e-10)
    close(be, operator.norm(2), np.linalg.norm(dense, 2), 1e-10)
    values, vectors = (be.to_numpy(a) for a in operator.eigh())
    close(be, (vectors * values) @ vectors.T, dense, 1e-10)


@pytest.mark.parametrize("case", ["one", "definite first"])
def test_damping_is_exact(be, generator, case):
    operator, dense = made(be, generator, case)
    shifted = dense + 0.3 * np.eye(len(dense))
    v = generator.standard_normal(len(dense))
    close(be, operator.solve(be.asarray(v), damping=0.3), np.linalg.solve(shifted, v), 1e-10)
    close(be, operator.logdet(0.3), np.linalg.slogdet(shifted)[1], 1e-10)
    root = be.to_numpy(operator.power(0.5, 0.3).to_dense())
    close(be, root @ root, shifted, 1e-10)


def test_the_form_of_an_inverse_has_every_operation(be, generator):
    operator, dense = made(be, generator, "definite first")
    inverse, expected = operator.inverse(), np.linalg.inv(dense)
    n = len(dense)
    v = generator.standard_normal(n)
    close(be, inverse @ be.asarray(v), expected @ v, 1e-10)
    close(be, inverse.solve(be.asarray(v)), dense @ v, 1e-10)
    close(be, inverse.inverse().to_dense(), dense, 1e-10)
    close(be, inverse.trace(), np.trace(expected), 1e-10)
    close(be, inverse.diagonal(), np.diag(expected), 1e-10)
    close(be, inverse.norm(), np.linalg.norm(expected), 1e-10)
    close(be, inverse.logdet(), -np.linalg.slogdet(dense)[1], 1e-10)
    close(be, (inverse * 3.0).to_dense(), 3 * expected, 1e-10)
    close(be, inverse.power(2).to_dense(), expected @ expected, 1e-9)
    shifted = expected + 0.2 * np.eye(n)
    close(be, inverse.solve(be.asarray(v), damping=0.2), np.linalg.solve(shifted, v), 1e-10)
    # Without the inverse bases they are found from the bases.
    bare = KroneckerCongruence(inverse.bases, inverse.values, backend=be)
    close(be, bare.solve(be.asarray(v)), dense @ v, 1e-9)


def test_a_singular_difference_names_a_damping(be):
    eye = be.asarray(np.eye(2))
    difference = KroneckerSum([[eye, eye], [-1.0 * eye, eye]], backend=be)
    with pytest.raises(cv.SingularMatrixError, match="damping"):
        difference.solve(be.asarray(np.ones(4)))
    with pytest.raises(cv.SingularMatrixError, match="damping"):
        difference.logdet()
    close(be, difference.norm(), 0.0)


def test_arrays_move_with_it(be, generator):
    operator, dense = made(be, generator, "definite first")
    moved = operator.to("numpy")
    assert isinstance(moved, KroneckerSum)
    close(moved.backend, moved.to_dense(), dense)
    inverse = operator.inverse().to("numpy")
    assert isinstance(inverse, KroneckerCongruence)
    close(inverse.backend, inverse.to_dense(), np.linalg.inv(dense), 1e-10)


def test_terms_that_do_not_fit_are_refused(generator):
    a, b = np.eye(2), np.eye(3)
    with pytest.raises(cv.ShapeError, match="at least one term"):
        KroneckerSum([])
    with pytest.raises(cv.ShapeError, match=r"\(2, 3\), \(3, 2\)"):
        KroneckerSum([[a, b], [b, a]])
    with pytest.raises(cv.ShapeError, match="does not fit 5 parameters"):
        KroneckerSum([[a, b]], space=cv.ParameterSpace.of(np.zeros(5)))
    with pytest.raises(cv.ShapeError, match="do not fit values"):
        KroneckerCongruence([a, a], np.ones((2, 3)))
    with pytest.raises(cv.ShapeError, match="does not fit 5 parameters"):
        KroneckerCongruence([a, b], np.ones((2, 3)), space=cv.ParameterSpace.of(np.zeros(5)))


def test_one_term_keeps_its_parameters():
    space = cv.ParameterSpace.of({"w": np.zeros((2, 3))})
    operator = KroneckerSum([Kronecker([Dense(2.0 * np.eye(2)), Dense(np.eye(3))])], space=space)
    solved = operator.solve({"w": np.ones((2, 3))})
    np.testing.assert_allclose(solved["w"], 0.5)
    assert operator.inverse(0.1).space == space
