"""The closed forms against dense matrices, eigenvalues and solutions that NumPy finds by itself."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Diagonal

from .conftest import dense, make_problem

KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda problem: cv.MonteCarloFisher(problem, samples=2, seed=3)]


def expected(matrix, operator, damping):
    """Error, cosine, step error, KL and effective dimension from eigenvalues: no Cholesky factor, no inverse."""
    f, a = dense(matrix), dense(operator)
    g = np.concatenate([np.ravel(matrix.backend.to_numpy(leaf)) for leaf in leaves(matrix.problem.gradient())]).astype(float)
    n = f.shape[0]
    damped = f + damping * np.eye(n)
    lambdas, q = np.linalg.eigh(a)
    x, exact = q @ ((q.T @ g) / (lambdas + damping)), np.linalg.lstsq(damped, g, rcond=None)[0]
    gap = x - exact
    relative = np.linalg.eigvals(np.linalg.solve(a + damping * np.eye(n), damped)).real
    return {
        "error": np.linalg.norm(f - a) / np.linalg.norm(f),
        "cosine": x @ exact / np.linalg.norm(x) / np.linalg.norm(exact),
        "step_error": np.sqrt(gap @ damped @ gap / (exact @ damped @ exact)),
        "kl": 0.5 * np.sum(relative - 1 - np.log(relative)),
        "effective_dimension": np.sum(lambdas / (lambdas + damping)),
    }


def leaves(tree):
    return [tree[layer][name] for layer in ("a", "b") for name in ("bias", "weight")]


@pytest.mark.parametrize("kind", KINDS, ids=["fisher", "ggn", "empirical", "monte-carlo"])
@pytest.mark.parametrize("options", [{}, {"weighted": True, "batches": True, "reduction": "sum"}], ids=["plain", "weighted"])
def test_every_number_is_that_of_the_dense_matrices(be, kind, options):
    matrix = kind(make_problem(be, **options))
    found = cv.compare(matrix, ["kfac", "diagonal"], damping=0.03, repeats=0)
    for row in found.rows:
        for name, value in expected(matrix, cv.approximate(matrix, row.label), 0.03).items():
            cell = getattr(row, name)
            np.testing.assert_allclose(cell.value, value, rtol=1e-8, err_msg=f"{row.label} {name}")
            assert cell.is_exact
    values = np.linalg.eigvalsh(dense(matrix))
    np.testing.assert_allclose(found.effective_dimension.value, np.sum(values / (values + 0.03)), rtol=1e-8)
    assert found.exact
    assert found.damping_rule == "as given"


def test_the_default_damping_is_a_hundredth_of_the_mean_eigenvalue(be):
    fisher = cv.Fisher(make_problem(be))
    mean = np.trace(dense(fisher)) / fisher.shape[0]
    for exact in (True, False):
        found = cv.compare(fisher, "diagonal", repeats=0, exact=exact)
        np.testing.assert_allclose(found.damping, 0.01 * mean, rtol=1e-10)
        assert "mean eigenvalue" in found.damping_rule
        assert f"{found.damping:.3g}" in str(found)


def test_the_matrix_itself_is_perfect(be):
    found = cv.compare(cv.Fisher(make_problem(be)), "exact", repeats=0)["exact"]
    assert found.error.value < 1e-12
    assert found.cosine.value > 1 - 1e-12
    assert found.step_error.value < 1e-7
    assert found.kl.value < 1e-10


def test_the_divergence_of_diagonal_gaussians(numpy_backend):
    """KL(N(0, 1/(a+δ)) ‖ N(0, 1/(f+δ))) = ½ Σ (r - 1 - log r), r = (f+δ)/(a+δ): and not the other way round."""
    f, a, delta = np.array([3.0, 0.5, 0.0]), np.array([1.0, 2.0, 0.25]), 0.5
    be = numpy_backend
    found = cv.compare(Diagonal(be.asarray(f)), {"a": Diagonal(be.asarray(a))}, damping=delta, gradient=be.asarray(np.ones(3)))
    r = (f + delta) / (a + delta)
    np.testing.assert_allclose(found["a"].kl.value, 0.5 * np.sum(r - 1 - np.log(r)), rtol=1e-12)
    np.testing.assert_allclose(found["a"].effective_dimension.value, np.sum(a / (a + delta)), rtol=1e-12)
    np.testing.assert_allclose(found.effective_dimension.value, np.sum(f / (f + delta)), rtol=1e-12)


def test_what_is_indefinite_has_no_divergence_and_says_so(numpy_backend):
    be = numpy_backend
    matrix = cv.Fisher(make_problem(be))
    n = matrix.shape[0]
    bad = Dense(be.asarray(np.diag(np.linspace(-1.0, 1.0, n))))
    found = cv.compare(matrix, {"bad": bad, "kfac": "kfac"}, damping=0.01, repeats=0)
    assert found["bad"].kl.value is None
    assert found["bad"].kl.reason == "indefinite"
    assert found["bad"].cosine.value is not None
    assert "indefinite" in str(found)
    assert "nan" not in str(found).lower()
    assert found.best("kl").label == "kfac"
    assert [row.label for row in found.ranking("kl")] == ["kfac"]


def test_an_indefinite_hessian(numpy_backend):
    problem = make_problem(numpy_backend)
    hessian = cv.Hessian(problem)
    lowest = np.linalg.eigvalsh(dense(hessian))[0]
    assert lowest < -1e-3, "this Hessian was to be indefinite"
    found = cv.compare(hessian, {"ggn": cv.approximate(cv.GGN(problem), "exact"), "kfac": "kfac"}, damping=1e-6, repeats=0)
    assert found["ggn"].kl.reason == found.effective_dimension.reason == "indefinite"
    expected = np.linalg.norm(dense(hessian) - dense(cv.GGN(problem))) / np.linalg.norm(dense(hessian))
    np.testing.assert_allclose(found["ggn"].error.value, expected, rtol=1e-10)
    assert "Hessian" in found["kfac"].refused
    assert found["kfac"].error.value is None
    assert "kfac: 'kfac' is not defined for a Hessian" in str(found)
    assert "root mean square" in cv.compare(hessian, "diagonal", repeats=0).damping_rule


def test_a_truncated_inverse_is_judged_by_its_solve(numpy_backend):
    fisher = cv.Fisher(make_problem(numpy_backend))
    short, long = (cv.approximation("neumann", order=order, scale="monotone") for order in (2, 2000))
    found = cv.compare(fisher, {"short": short, "long": long}, damping=0.05, repeats=0)
    for row in found.rows:
        assert row.error.value < 1e-12
    assert found["short"].cosine.value < 0.99 < found["long"].cosine.value
    # S = a Σ_{k<2} (I - a A)^k for A = F + δI.
    n = fisher.shape[0]
    damped = dense(fisher) + 0.05 * np.eye(n)
    inverse = dense(cv.approximate(fisher, short).inverse(0.05))
    r = np.linalg.eigvals(damped @ inverse).real
    np.testing.assert_allclose(found["short"].kl.value, 0.5 * np.sum(r - 1 - np.log(r)), rtol=1e-7)
    assert found["long"].kl.value < 1e-6
    once = cv.compare(fisher, {"cg": cv.approximation("conjugate-gradients", iterations=2)}, damping=0.05, repeats=0)["cg"]
    assert (once.kl.value, once.kl.reason) == (None, "no matrix"), "conjugate gradients are not linear"
    assert once.cosine.value is not None


def test_float32_problems_are_compared_too(numpy_backend):
    double, single = (cv.Fisher(make_problem(numpy_backend, dtype=dtype)) for dtype in ("float64", "float32"))
    wide, narrow = (cv.compare(one, "kfac", damping=0.03, repeats=0)["kfac"] for one in (double, single))
    for name in ("error", "cosine", "kl", "effective_dimension"):
        np.testing.assert_allclose(narrow.value(name), wide.value(name), rtol=1e-3)
    assert narrow.bytes * 2 == wide.bytes
