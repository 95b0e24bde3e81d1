"""Every operation against the dense matrix, with the rows held and without."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Diagonal, MatrixFree
from curvature_samplespace.operator import SampleSpaceOperator

from .conftest import approximated, dense

DAMPINGS = (1e-4, 0.03, 2.0)


@pytest.fixture(params=["rows", "matrix-free centred"])
def operator(request, be, tasks):
    centred = "centred" in request.param
    return approximated(cv.Fisher(tasks(be)), storage=request.param.removesuffix("centred").strip() or "rows", centred=centred)


@pytest.fixture
def matrix(operator):
    return dense(operator)


@pytest.fixture(autouse=True)
def nothing_is_densified():
    with warnings.catch_warnings():
        warnings.simplefilter("error", cv.DensifiedWarning)
        yield


def damped(matrix, damping):
    return matrix + damping * np.eye(len(matrix))


def function(matrix, f):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * f(values)) @ vectors.T


def close(operator, expected, rtol=1e-10):
    found = dense(operator) if isinstance(operator, cv.Operator) else operator.__array__()
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_products(be, operator, matrix, generator):
    v = generator.standard_normal((64, 3))
    close(be.to_numpy(operator @ be.asarray(v)), matrix @ v)
    assert operator.shape == (64, 64)
    assert operator.structure == "sample-space"


def test_solve_inverse_and_determinant(be, operator, matrix, generator):
    v = generator.standard_normal((64, 2))
    for damping in DAMPINGS:
        close(be.to_numpy(operator.solve(be.asarray(v), damping=damping)), np.linalg.solve(damped(matrix, damping), v))
        inverse = operator.inverse(damping)
        assert isinstance(inverse, SampleSpaceOperator)
        close(inverse, np.linalg.inv(damped(matrix, damping)))
        expected = np.linalg.slogdet(damped(matrix, damping))[1]
        np.testing.assert_allclose(float(operator.logdet(damping)), expected, rtol=1e-11)
        np.testing.assert_allclose(float(inverse.logdet()), -expected, rtol=1e-11)


def test_powers(operator, matrix):
    damping = 0.02
    for p in (0.5, -0.5, 2, -2, 3, 0, 1.5, -1, -0.25, 1):
        power = operator.power(p, damping)
        assert isinstance(power, SampleSpaceOperator)
        close(power, function(damped(matrix, damping), lambda values, p=p: values**p), rtol=1e-9)


def test_powers_without_damping(operator, matrix):
    close(operator.power(2), matrix @ matrix)
    root = dense(operator.power(0.5))
    close(root @ root, matrix)


def test_functions_of_functions(operator, matrix):
    """Inverses of inverses, powers of powers, determinants and solves of them: all in the same form."""
    inverse = operator.inverse(0.1)
    close(inverse.inverse(), damped(matrix, 0.1), rtol=1e-9)
    close(inverse.power(-0.5), function(damped(matrix, 0.1), np.sqrt), rtol=1e-9)
    expected = np.linalg.inv(np.linalg.inv(damped(matrix, 0.1)) + 0.3 * np.eye(64))
    close(inverse.inverse(0.3), expected, rtol=1e-9)
    eye = operator.backend.asarray(np.eye(64))
    close(operator.backend.to_numpy(inverse.solve(eye, damping=0.3)), expected, rtol=1e-9)
    close(operator.scaled(-1.0).power(2, 0.1), function(matrix, lambda values: (0.1 - values) ** 2), rtol=1e-9)


def test_entries_traces_and_norms(be, operator):
    for made in (operator, operator.inverse(0.1), operator * 2.5, operator.power(0.5, 0.2) * 3.0):
        matrix = dense(made)
        close(be.to_numpy(made.diagonal()), np.diag(matrix))
        np.testing.assert_allclose(float(made.trace()), np.trace(matrix), rtol=1e-11)
        np.testing.assert_allclose(float(made.norm()), np.linalg.norm(matrix), rtol=1e-11)
        np.testing.assert_allclose(float(made.norm(2)), np.linalg.norm(matrix, 2), rtol=1e-10)
        for name, rows in (("b", slice(0, 8)), ("v", slice(8, 32)), ("w", slice(32, 64))):
            block = made.block(name)
            close(block, matrix[rows, rows])
            assert isinstance(block, (SampleSpaceOperator, Dense, MatrixFree))
    with pytest.raises(ValueError, match="the norms are"):
        operator.norm("nuc")


def test_eigenpairs(be, operator):
    for made in (operator, operator.inverse(0.1), operator.scaled(-2.0)):
        matrix = dense(made)
        for k in (None, 1, 5, 12, 20):
            values, vectors = (be.to_numpy(a) for a in made.eigh(k))
            expected = np.linalg.eigvalsh(matrix)
            if k is not None:
                expected = expected[np.argsort(-np.abs(expected), kind="stable")][:k]
            close(values, expected)
            close(vectors.T @ vectors, np.eye(len(values)))
            close(matrix @ vectors, vectors * values, rtol=1e-9)
    with pytest.raises(ValueError, match=r"1 … 64, got 65"):
        operator.eigh(65)


def test_draws(be, operator, matrix):
    """To six standard errors, and the same for one seed; also those that need powers."""
    for made, inverse in ((operator, True), (operator, False), (operator.inverse(0.5), False)):
        draws = be.to_numpy(made.sample(be.rng(0), 4000, inverse=inverse, damping=0.2))
        covariance = damped(dense(made), 0.2)
        covariance = np.linalg.inv(covariance) if inverse else covariance
        variances = np.diag(covariance)
        error = np.sqrt((np.outer(variances, variances) + covariance**2) / 4000)
        assert np.max(np.abs(draws.T @ draws / 4000 - covariance) / error) < 6
    again = be.to_numpy(operator.sample(be.rng(3), 2, damping=0.2))
    np.testing.assert_array_equal(again, be.to_numpy(operator.sample(be.rng(3), 2, damping=0.2)))


def test_sums_and_products_on_one_side(operator, matrix):
    total = operator + operator.inverse(0.1).scaled(2.0)
    product = operator @ operator.inverse(0.1)
    for found, expected in (
        (total, matrix + 2 * np.linalg.inv(damped(matrix, 0.1))),
        (product, matrix @ np.linalg.inv(damped(matrix, 0.1))),
        (operator - operator, np.zeros((64, 64))),
        (operator @ operator, matrix @ matrix),
    ):
        assert isinstance(found, SampleSpaceOperator)
        np.testing.assert_allclose(dense(found), expected, rtol=1e-9, atol=1e-11)


def test_a_constant_diagonal_is_a_shift(be, operator, matrix):
    constant = Diagonal(be.asarray(np.full(64, 0.7)), backend=be)
    for total in (operator + constant, constant + operator):
        assert isinstance(total, SampleSpaceOperator)
        close(total, damped(matrix, 0.7))
    entries = np.linspace(0.0, 1.0, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        close(operator + Diagonal(be.asarray(entries), backend=be), matrix + np.diag(entries))


# Without damping ----------------------------------------------------------------------------------------


def test_a_singular_matrix_is_refused_with_a_damping_that_would_do(be, operator):
    v = be.asarray(np.ones(64))
    for work in (lambda: operator.solve(v), operator.inverse, operator.logdet, lambda: operator.power(-0.5)):
        with pytest.raises(cv.SingularMatrixError, match="a damping of"):
            work()


def test_a_negative_operator_has_no_root(operator):
    with pytest.raises(cv.NotPositiveDefiniteError):
        operator.scaled(-1.0).power(0.5)


def test_the_pseudo_inverse(be, tasks, generator):
    for storage in ("rows", "matrix-free"):
        operator = approximated(cv.Fisher(tasks(be)), storage=storage, rcond=1e-8)
        matrix, v = dense(operator), generator.standard_normal(64)
        expected = np.linalg.pinv(matrix, rcond=1e-8, hermitian=True)
        close(operator.inverse(), expected, rtol=1e-7)
        close(be.to_numpy(operator.solve(be.asarray(v))), expected @ v, rtol=1e-7)
        root = dense(operator.power(-0.5))
        close(root @ root, expected, rtol=1e-7)
        # A cut that takes small eigenvalues away; with damping the inverse is that of the whole matrix.
        cut = approximated(cv.Fisher(tasks(be)), storage=storage, rcond=0.1)
        close(cut.inverse(), np.linalg.pinv(matrix, rcond=0.1, hermitian=True), rtol=1e-9)
        assert np.abs(dense(cut.inverse()) - expected).max() > 1e-3 * np.abs(expected).max()
        close(cut.inverse(0.1), np.linalg.inv(damped(matrix, 0.1)))


# More rows than parameters ------------------------------------------------------------------------------


def test_more_rows_than_parameters(be, generator):
    """The rows are compressed to as many as parameters, and a matrix of full rank needs no damping."""
    params = {"w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((20, 3))), be.asarray(generator.standard_normal((20, 2))))
    task = cv.Problem(cv.Model(lambda p, x: cv.namespace(x).tanh(x @ p["w"]), params, backend=be), cv.Gaussian(), data)
    fisher = cv.Fisher(task)
    expected, v = dense(cv.approximate(fisher, "exact")), generator.standard_normal(6)
    for storage in ("rows", "matrix-free"):
        with pytest.warns(cv.CurvatureWarning, match=r"40 rows, no fewer than the 6 parameters.*'exact'"):
            operator = approximated(fisher, storage=storage)
        assert operator.side.shape == ((6, 6) if storage == "rows" else (40, 6))
        close(operator, expected)
        for damping in (0.0, 0.01):
            solved = be.to_numpy(operator.solve(be.asarray(v), damping=damping))
            close(solved, np.linalg.solve(expected + damping * np.eye(6), v), rtol=1e-9)
            close(operator.inverse(damping), np.linalg.inv(expected + damping * np.eye(6)), rtol=1e-9)
            determinant = np.linalg.slogdet(expected + damping * np.eye(6))[1]
            np.testing.assert_allclose(float(operator.logdet(damping)), determinant, rtol=1e-10)
        for k in (None, 2):
            values, vectors = (be.to_numpy(a) for a in operator.eigh(k))
            close(expected @ vectors, vectors * values, rtol=1e-9)
            assert vectors.shape == (6, k or 6)
        np.testing.assert_allclose(float(operator.norm()), np.linalg.norm(expected), rtol=1e-10)
        np.testing.assert_allclose(
            float(operator.inverse(0.1).norm(2)), np.linalg.norm(dense(operator.inverse(0.1)), 2), rtol=1e-9
        )


# Elsewhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [lambda a: a, lambda a: a.inverse(0.1), lambda a: 2.0 * a])
def test_moved_saved_and_loaded(be, tasks, made, tmp_path):
    operator = made(approximated(cv.Fisher(tasks(be))))
    matrix = dense(operator)
    for other in ("numpy", "torch"):
        moved = operator.to(other)
        assert isinstance(moved, SampleSpaceOperator)
        close(moved, matrix)
        close(moved.inverse(0.3), np.linalg.inv(damped(matrix, 0.3)), rtol=1e-9)
    cv.save(operator, tmp_path / "operator.safetensors")
    loaded = cv.load(tmp_path / "operator.safetensors", backend=be)
    assert isinstance(loaded, SampleSpaceOperator)
    np.testing.assert_allclose(dense(loaded), matrix, rtol=1e-13, atol=1e-15)
    assert loaded.space == operator.space


def test_without_rows_there_is_nothing_to_move_or_save(be, tasks, tmp_path):
    operator = approximated(cv.Fisher(tasks(be)), storage="matrix-free")
    with pytest.raises(cv.UnsupportedError, match="storage='rows'"):
        operator.to("numpy")
    with pytest.raises(cv.UnsupportedError, match="storage='rows'"):
        cv.save(operator, tmp_path / "operator.safetensors")


def test_rows_of_two_matrices_are_stacked(be, tasks):
    first, second = (approximated(kind(tasks(be))) for kind in (cv.Fisher, cv.EmpiricalFisher))
    total = 2.0 * first + second
    assert isinstance(total, SampleSpaceOperator)
    assert total.side.shape == (18, 64)
    close(total, 2 * dense(first) + dense(second))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        close(first - second, dense(first) - dense(second))
        close(first @ second, dense(first) @ dense(second))


@pytest.mark.parametrize("storage", ["rows", "matrix-free"])
def test_float32_stays_float32(be, tasks, storage):
    operator = approximated(cv.Fisher(tasks(be, dtype="float32")), storage=storage, centred=True)
    expected = dense(approximated(cv.Fisher(tasks(be)), centred=True))
    v = be.asarray(np.ones(64), dtype="float32")
    inverse = operator.inverse(0.1)
    found = [operator @ v, operator.solve(v, damping=0.1), inverse.diagonal(), inverse @ v, operator.logdet(0.1), operator.norm()]
    found += [*operator.eigh(3), *inverse.eigh(), inverse.trace(), operator.sample(be.rng(0), 2, damping=0.1)]
    for array in found:
        assert str(be.to_numpy(array).dtype) == "float32"
    np.testing.assert_allclose(dense(operator), expected, rtol=1e-3, atol=1e-5)
