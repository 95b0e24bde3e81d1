"""The diagonal of a Hessian and of any other operator: exact for small ones, with error bars for large ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense, Kronecker, MatrixFree


def problem(be, generator, *, activation="tanh", weights=False, batches=1):
    shapes = {"a": {"w": (4, 5), "b": (5,)}, "z": {"w": (3, 5), "b": (3,)}}
    params = {k: {n: be.asarray(generator.standard_normal(s)) for n, s in part.items()} for k, part in shapes.items()}

    def apply(p, x):
        xp = cv.namespace(x)
        hidden = x @ p["a"]["w"] + p["a"]["b"]
        hidden = xp.tanh(hidden) if activation == "tanh" else xp.where(hidden > 0, hidden, xp.zeros_like(hidden))
        return hidden @ xp.matrix_transpose(p["z"]["w"]) + p["z"]["b"]

    arrays = [generator.standard_normal((6, 4)), generator.integers(0, 3, 6)]
    arrays += [generator.uniform(0, 2, 6)] if weights else []
    data = [
        tuple(be.asarray(part) for part in parts) for parts in zip(*(np.array_split(a, batches) for a in arrays), strict=True)
    ]
    return cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data if batches > 1 else data[0])


@pytest.mark.parametrize(("weights", "batches"), [(False, 1), (True, 1), (True, 3)])
def test_a_small_hessian_is_exact(be, generator, weights, batches):
    matrix = cv.Hessian(problem(be, generator, weights=weights, batches=batches))
    dense = be.to_numpy(matrix.to_dense())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagonal = cv.approximate(matrix, "diagonal")
    np.testing.assert_allclose(be.to_numpy(diagonal.diagonal()), np.diag(dense), rtol=1e-10, atol=1e-13)
    assert diagonal.standard_error is None


@pytest.mark.parametrize("kind", [cv.Fisher, cv.Hessian])
def test_it_is_the_nearest_diagonal_matrix(be, generator, kind):
    """‖F - D‖² = ‖F‖² - ‖D‖², and any other diagonal is farther away by just the difference of the two."""
    matrix = kind(problem(be, generator))
    dense = be.to_numpy(matrix.to_dense())
    d = be.to_numpy(cv.approximate(matrix, "diagonal").to_dense())
    error, scale = np.sum((dense - d) ** 2), np.sum(dense**2)
    assert abs(error - (scale - np.sum(d**2))) < 1e-12 * scale
    other = d + np.diag(generator.standard_normal(len(d)))
    np.testing.assert_allclose(np.sum((dense - other) ** 2), error + np.sum((other - d) ** 2), rtol=1e-10)


def test_of_a_piecewise_linear_network_it_is_that_of_the_ggn(be, generator):
    """Layer by layer the second derivatives of the outputs vanish there (the whole matrices differ)."""
    task = problem(be, generator, activation="relu")
    hessian, ggn = cv.Hessian(task), cv.GGN(task)
    one, two = (be.to_numpy(cv.approximate(matrix, "diagonal").diagonal()) for matrix in (hessian, ggn))
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-13)
    assert np.linalg.norm(be.to_numpy(hessian.to_dense() - ggn.to_dense())) > 0.1 * np.linalg.norm(one)
    smooth = problem(be, generator)
    one, two = (be.to_numpy(cv.approximate(kind(smooth), "diagonal").diagonal()) for kind in (cv.Hessian, cv.GGN))
    assert np.linalg.norm(one - two) > 0.01 * np.linalg.norm(one)


# Estimates ----------------------------------------------------------------------------------------------


def large(be, generator, n=300):
    """A matrix known by its products, its eigenvalues falling off."""
    q = np.linalg.qr(generator.standard_normal((n, n)))[0]
    dense = q * (0.95 ** np.arange(n) + 0.01) @ q.T
    array = be.asarray(dense)
    return MatrixFree(lambda v: array @ v, n, dtype=array.dtype, backend=be), np.diag(dense)


@pytest.mark.parametrize("estimator", ["xdiag", "hutchinson"])
def test_an_estimate_keeps_to_its_tolerance_and_error_bars(be, generator, estimator):
    operator, truth = large(be, generator)
    with pytest.warns(cv.EstimatedWarning, match=rf"estimated by {estimator} from \d+ products, relative standard error 0\.\d+;"):
        diagonal = cv.approximate(operator, "diagonal", exact_below=100, estimator=estimator, tolerance=0.2)
    found, error = be.to_numpy(diagonal.diagonal()), be.to_numpy(diagonal.standard_error)
    assert np.linalg.norm(error) <= 0.2 * np.linalg.norm(found)
    assert 0 < np.linalg.norm(found - truth) < 2.5 * np.linalg.norm(error)
    assert np.mean(np.abs(found - truth) <= 2 * error) > 0.85


def test_a_hessian_is_estimated_above_the_limit_and_exact_below(generator):
    be = cv.backend("numpy")
    matrix = cv.Hessian(problem(be, generator))
    truth = np.diag(matrix.to_dense())
    with pytest.warns(cv.EstimatedWarning, match="the diagonal of a Hessian of 43 parameters is estimated"):
        estimated = cv.approximate(matrix, "diagonal", exact_below=42, max_products=32, estimator="hutchinson", seed=3)
    error = estimated.standard_error
    assert 0 < np.linalg.norm(estimated.diagonal() - truth) < 3 * np.linalg.norm(error)
    exact = cv.approximate(matrix, "diagonal", exact_below=43)
    np.testing.assert_allclose(exact.diagonal(), truth, rtol=1e-10, atol=1e-13)


def test_what_the_tolerance_was_and_what_was_reached_is_said(generator):
    operator, _ = large(cv.backend("numpy"), generator)
    with pytest.warns(cv.EstimatedWarning, match=r"0\.\d+ \(not the 0.0001 that was aimed at: raise max_products\)"):
        cv.approximate(operator, "diagonal", exact_below=1, tolerance=1e-4, max_products=40)


def test_one_seed_gives_one_answer(be, generator):
    operator, _ = large(be, generator)
    options = {"exact_below": 1, "tolerance": 0.3, "max_products": 40}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.EstimatedWarning)
        draws = [be.to_numpy(cv.approximate(operator, "diagonal", seed=seed, **options).diagonal()) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.max(np.abs(draws[0] - draws[2])) > 0


def test_merged_standard_errors_bound_the_error(generator):
    """Of two estimates with the same probes or with others."""
    be = cv.backend("numpy")
    (one, d1), (two, d2) = large(be, generator), large(be, generator)
    for seeds in ((0, 0), (0, 1)):
        methods = [
            cv.approximation("diagonal", exact_below=1, estimator="hutchinson", max_products=64, tolerance=1e-3, seed=seed)
            for seed in seeds
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cv.EstimatedWarning)
            parts = [cv.estimate(matrix, method, be) for matrix, method in zip((one, two), methods, strict=True)]
        merged = methods[0].merge(parts, [0.3, 0.7])
        np.testing.assert_allclose(merged["diagonal"], 0.3 * parts[0]["diagonal"] + 0.7 * parts[1]["diagonal"])
        np.testing.assert_allclose(merged["standard_error"], 0.3 * parts[0]["standard_error"] + 0.7 * parts[1]["standard_error"])
        error = merged["diagonal"] - (0.3 * d1 + 0.7 * d2)
        assert np.mean(np.abs(error) <= 2 * merged["standard_error"]) > 0.9


def test_a_structure_that_has_its_diagonal_is_asked_for_it(be, generator):
    a, b = (generator.standard_normal((n, n)) for n in (3, 4))
    a, b = a @ a.T, b @ b.T
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for operator, dense in ((Dense(be.asarray(a)), a), (Kronecker([be.asarray(a), be.asarray(b)]), np.kron(a, b))):
            found = cv.approximate(operator, "diagonal", exact_below=1)
            np.testing.assert_allclose(be.to_numpy(found.diagonal()), np.diag(dense), rtol=1e-12)
            assert found.standard_error is None


def test_parts_of_the_data_merge_exactly(be, generator):
    whole = problem(be, generator)
    batch, method = whole.data.single, cv.approximation("diagonal")
    for kind in (cv.GGN, cv.Hessian):
        parts = [
            cv.estimate(kind(cv.Problem(whole.model, whole.likelihood, (batch.x[rows, ...], batch.y[rows, ...]))), method, be)
            for rows in (slice(0, 2), slice(2, 6))
        ]
        merged = cv.build(method, method.merge(parts, [1 / 3, 2 / 3]), whole.structure)
        expected = cv.approximate(kind(whole), method)
        np.testing.assert_allclose(be.to_numpy(merged.diagonal()), be.to_numpy(expected.diagonal()), rtol=1e-10, atol=1e-14)


def test_an_indefinite_diagonal(be):
    """It has an inverse, but no root and no determinant; one that is singular names a damping that would do."""
    indefinite = cv.approximate(Dense(be.asarray(np.diag([2.0, -1.0, 3.0]))), "diagonal")
    v = be.asarray(np.ones(3))
    np.testing.assert_allclose(be.to_numpy(indefinite.solve(v)), [0.5, -1.0, 1 / 3])
    np.testing.assert_allclose(be.to_numpy(indefinite.solve(v, damping=2.0)), [0.25, 1.0, 0.2])
    for operation in (lambda: indefinite.power(-0.5), lambda: indefinite.logdet(), lambda: indefinite.sample(be.rng(0), 1)):
        with pytest.raises(cv.NotPositiveDefiniteError, match="smallest eigenvalue is -1; a damping above 1 more would do"):
            operation()
    with pytest.raises(cv.SingularMatrixError, match=r"a damping of .* or more would do"):
        indefinite.solve(v, damping=1.0)


def test_float32_stays_float32(be, generator):
    operator, _ = large(be, generator, n=60)
    array = be.asarray(be.to_numpy(operator.to_dense()).astype(np.float32))
    single = MatrixFree(lambda v: array @ v, 60, dtype=array.dtype, backend=be)
    assert cv.approximate(single, "diagonal").diagonal().dtype == array.dtype
    with pytest.warns(cv.EstimatedWarning):
        estimated = cv.approximate(single, "diagonal", exact_below=1, max_products=20)
    assert estimated.diagonal().dtype == array.dtype
    assert estimated.standard_error.dtype == array.dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "xtrace"}, "estimator is 'xdiag' or 'hutchinson', got 'xtrace'"),
        ({"tolerance": 0.0}, "tolerance is a finite number > 0"),
        ({"tolerance": float("nan")}, "tolerance is a finite number > 0"),
        ({"max_products": 3}, "max_products is 4 or more"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.approximation("diagonal", **options)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 8), seed=st.integers(0, 100))
def test_columns_of_any_size(n, seed):
    a = np.random.default_rng(seed).standard_normal((n, n))
    operator = MatrixFree(lambda v: (a + a.T) @ v, n, dtype=a.dtype, backend=cv.backend("numpy"))
    np.testing.assert_allclose(cv.approximate(operator, "diagonal").diagonal(), 2 * np.diag(a), rtol=1e-12, atol=1e-14)
