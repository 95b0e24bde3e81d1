"""What both methods share: the matrix is kept, and only its inverse is cut short."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense
from curvature_truncated.operator import Truncated

from .conftest import with_spectrum

NAMES = ("neumann", "conjugate-gradients")


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def dense(operator):
    return operator.backend.to_numpy(operator.to_dense())


def flat(be, space, tree):
    return be.to_numpy(space.ravel(be.xp, tree))


@pytest.mark.parametrize("kind", [cv.Fisher, cv.GGN, cv.EmpiricalFisher, cv.MonteCarloFisher, cv.Hessian])
def test_products_are_the_matrix(be, problem, name, kind):
    matrix = kind(problem(be))
    operator = cv.approximate(matrix, name)
    assert isinstance(operator, Truncated)
    assert operator.structure == "truncated"
    np.testing.assert_array_equal(dense(operator), dense(matrix))
    v = np.random.default_rng(0).standard_normal((matrix.shape[0], 2))
    np.testing.assert_array_equal(be.to_numpy(operator @ be.asarray(v)), be.to_numpy(matrix @ be.asarray(v)))


def test_solves_of_vectors_matrices_and_trees(be, problem, name):
    fisher = cv.Fisher(problem(be))
    operator, space, damping = cv.approximate(fisher, name), fisher.problem.space, 0.1
    v = np.random.default_rng(0).standard_normal((space.size, 3))
    expected = np.linalg.solve(dense(fisher) + damping * np.eye(space.size), v)
    close = {"rtol": 0, "atol": 1e-8 * np.max(np.abs(expected))}
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v), damping=damping)), expected, **close)
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v[:, 0]), damping=damping)), expected[:, 0], **close)
    tree = space.unravel(be.xp, be.asarray(v[:, 0]))
    np.testing.assert_allclose(flat(be, space, operator.solve(tree, damping=damping)), expected[:, 0], **close)
    start = space.unravel(be.xp, be.asarray(0.9 * expected[:, 0]))
    np.testing.assert_allclose(flat(be, space, operator.solve_from(tree, start, damping=damping)), expected[:, 0], **close)
    np.testing.assert_allclose(flat(be, space, operator.solve_from(tree, None, damping=damping)), expected[:, 0], **close)
    inverse = operator.inverse(damping)
    np.testing.assert_allclose(be.to_numpy(inverse @ be.asarray(v)), expected, **close)
    np.testing.assert_allclose(flat(be, space, inverse @ tree), expected[:, 0], **close)
    with pytest.raises(cv.ShapeError, match=r"the start has shape \(57, 3\), the right-hand side \(57, 1\)"):
        operator.solve_from(be.asarray(v[:, 0]), be.asarray(v))


def test_a_hessian_with_damping(be, problem, name):
    hessian = cv.Hessian(problem(be))
    matrix = dense(hessian)
    lowest = np.linalg.eigvalsh(matrix)[0]
    assert lowest < 0
    operator, v = cv.approximate(hessian, name), np.random.default_rng(0).standard_normal(len(matrix))
    with pytest.raises(cv.NotPositiveDefiniteError, match="damping"):
        operator.solve(be.asarray(v))
    damping = 0.1 - lowest
    expected = np.linalg.solve(matrix + damping * np.eye(len(matrix)), v)
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v), damping=damping)), expected, rtol=1e-7, atol=1e-8)


def test_float32_stays_float32(be, problem, name):
    fisher = cv.Fisher(problem(be, dtype="float32"))
    for preconditioner in (None, "kfac"):
        operator = cv.approximate(fisher, name, preconditioner=preconditioner)
        v = be.asarray(np.random.default_rng(0).standard_normal(fisher.shape[0]), dtype="float32")
        for damping in (0.1, np.float64(0.1)):
            solution = operator.solve(v, damping=damping)
            assert solution.dtype == v.dtype
            expected = np.linalg.solve(dense(fisher).astype(float) + 0.1 * np.eye(v.shape[0]), be.to_numpy(v))
            np.testing.assert_allclose(be.to_numpy(solution), expected, rtol=0, atol=1e-3 * np.max(np.abs(expected)))


def test_other_operations_are_those_of_the_matrix(be, name):
    matrix = with_spectrum([0.5, 1.0, 2.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator = cv.approximate(Dense(be.asarray(matrix)), name)
        np.testing.assert_allclose(float(operator.logdet(0.5)), np.linalg.slogdet(matrix + 0.5 * np.eye(4))[1])
        np.testing.assert_allclose(float(operator.trace()), 6.5)
        np.testing.assert_allclose(be.to_numpy(operator.diagonal()), np.diag(matrix))
        np.testing.assert_allclose(float(operator.norm()), np.linalg.norm(matrix))
        np.testing.assert_allclose(be.to_numpy(operator.eigh()[0]), [0.5, 1.0, 2.0, 3.0])
        np.testing.assert_allclose(dense(operator.power(2)), matrix @ matrix, atol=1e-12)
        assert operator.sample(be.rng(0), 3).shape == (3, 4)
        assert operator.T is operator


@pytest.mark.parametrize("factor", [2.5, 0.01])
@pytest.mark.parametrize("options", [{}, {"preconditioner": "diagonal"}])
def test_multiples_stay_truncated(be, problem, name, factor, options):
    fisher = cv.Fisher(problem(be))
    if name == "neumann":
        options = {**options, "scale": 0.05 if options == {} else 0.2}
    operator = cv.approximate(fisher, name, **options)
    multiple = factor * operator
    assert type(multiple) is type(operator)
    v = np.random.default_rng(0).standard_normal(fisher.shape[0])
    expected = np.linalg.solve(factor * dense(fisher) + 0.3 * factor * np.eye(v.size), v)
    found = be.to_numpy(multiple.solve(be.asarray(v), damping=0.3 * factor))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.max(np.abs(expected)))


def test_moving_it_makes_the_matrix_dense_and_says_so(be, problem, name):
    operator = cv.approximate(cv.Fisher(problem(be)), name, preconditioner="kfac")
    with pytest.warns(cv.DensifiedWarning, match=r"moving a .* builds a dense 57 × 57 matrix"):
        moved = operator.to("numpy")
    assert type(moved) is type(operator)
    assert isinstance(moved.matrix, Dense)
    v = np.random.default_rng(0).standard_normal(57)
    there, here = moved.solve(v, damping=0.1), be.to_numpy(operator.solve(be.asarray(v), damping=0.1))
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-8 * np.max(np.abs(here)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved.to(be)


def test_statistics_alone_make_no_operator(problem, name):
    fisher = cv.Fisher(problem(cv.backend("numpy")))
    method = cv.approximation(name, preconditioner="kfac")
    statistics = cv.estimate(fisher, method, fisher.backend)
    assert set(statistics) == {"preconditioner"}
    assert cv.estimate(fisher, cv.approximation(name), fisher.backend) == {}
    with pytest.raises(
        cv.UnsupportedError, match=rf"'{name}' keeps the matrix itself.*curvature\.approximate\(matrix, '{name}'\)"
    ):
        cv.build(method, statistics, fisher.problem.structure)
    assert isinstance(cv.build(method, statistics, fisher.problem.structure.of(fisher)), Truncated)


def test_statistics_merge_as_those_of_the_preconditioner(problem, name):
    fisher = cv.Fisher(problem(cv.backend("numpy")))
    method = cv.approximation(name, preconditioner="kfac")
    statistics = cv.estimate(fisher, method, fisher.backend)
    merged = method.merge([statistics, statistics], [0.25, 0.75])
    kfac = cv.approximation("kfac")
    expected = cv.build(kfac, cv.estimate(fisher, kfac, fisher.backend), fisher.problem.structure)
    near = cv.build(method, merged, fisher.problem.structure.of(fisher)).near
    np.testing.assert_allclose(near.to_dense(), expected.to_dense(), rtol=1e-12, atol=1e-15)
    assert cv.approximation(name).merge([{}, {}], [0.5, 0.5]) == {}
    assert method.merges == kfac.merges


def test_saving_is_refused_with_what_to_save_instead(problem, name, tmp_path):
    operator = cv.approximate(cv.Fisher(problem(cv.backend("numpy"))), name)
    with pytest.raises(cv.UnsupportedError, match=r"Dense\(A\.to_dense\(\), space=A\.space\)"):
        cv.save(operator, tmp_path / "operator.safetensors")


def test_sums_are_those_of_the_matrix(problem, name):
    fisher = cv.Fisher(problem(cv.backend("numpy")))
    operator, diagonal = cv.approximate(fisher, name), cv.approximate(fisher, "diagonal")
    matrix = dense(fisher)
    with pytest.warns(cv.DensifiedWarning, match="keeps neither structure"):
        totals = [operator + diagonal, diagonal + operator, operator - operator, operator @ diagonal]
    sums = [matrix + dense(diagonal)] * 2
    for total, expected in zip(totals, [*sums, 0 * matrix, matrix @ dense(diagonal)], strict=True):
        np.testing.assert_allclose(dense(total), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("options", [{}, {"preconditioner": "kfac"}])
def test_a_network_is_trained(problem, name, options, batches):
    """A few terms in each step of natural-gradient descent, on all data, or on batches with moving averages."""
    be = cv.backend("numpy")
    task = problem(be, 40)
    whole, size = task.data.single, 40 // batches
    limit = {"order": 5} if name == "neumann" else {"iterations": 5}
    optimizer = cv.NaturalGradient(cv.approximation(name, **limit, **options), damping=0.05, learning_rate=0.5)
    params, state = task.params, optimizer.init(task)
    for step in range(15):
        rows = slice(step % batches * size, (step % batches + 1) * size)
        params, state, _ = optimizer.step(params, state, (whole.x[rows], whole.y[rows]))
    assert float(task.at(params).loss()) < 0.85 * float(task.loss())


def test_forward_passes_are_done_once_for_all_products(problem, name, monkeypatch):
    be = cv.backend("numpy")
    fisher, calls = cv.Fisher(problem(be)), []
    linearize = type(be).linearize
    monkeypatch.setattr(type(be), "linearize", lambda self, *args: calls.append(1) or linearize(self, *args))
    limit = {"order": 9} if name == "neumann" else {"iterations": 9}
    cv.approximate(fisher, name, **limit).solve(np.ones(57), damping=0.1)
    assert len(calls) == 1


def test_inside_jit(name):
    """A series of given order and scale depends on no values; what does says so."""
    jax = pytest.importorskip("jax")
    be = cv.backend("jax")
    matrix = with_spectrum([0.5, 1.0, 2.0, 3.0])
    array, v = be.asarray(matrix, dtype="float32"), be.asarray(np.arange(4.0), dtype="float32")
    options = {"order": 6, "scale": 0.3} if name == "neumann" else {"iterations": 6}

    def solve(matrix, v, damping):
        operator = cv.approximate(Dense(matrix, symmetric=True), name, **options)
        return operator.solve(v, damping=damping)

    if name == "conjugate-gradients":
        with pytest.raises(cv.UnsupportedError, match="stop by values"):
            jax.jit(solve)(array, v, 0.1)
        return
    np.testing.assert_allclose(be.to_numpy(jax.jit(solve)(array, v, 0.1)), be.to_numpy(solve(array, v, 0.1)), rtol=1e-5)
    options.pop("scale")
    with pytest.raises(cv.UnsupportedError, match="needs an order and a scale that are numbers"):
        jax.jit(lambda *arguments: solve(*arguments))(array, v, 0.1)


def test_a_negative_multiple_has_products_and_no_inverse(be, name):
    options = {"scale": 0.3} if name == "neumann" else {}
    operator = cv.approximate(Dense(be.asarray(with_spectrum([0.5, 1.0, 2.0]))), name, **options)
    np.testing.assert_allclose(dense(-operator), -dense(operator))
    with pytest.raises(cv.NotPositiveDefiniteError):
        (-operator).solve(be.asarray(np.ones(3)))


def test_a_dense_matrix_is_added_without_dense_columns_of_the_other(be, problem, name):
    operator = cv.approximate(cv.Fisher(problem(be)), name)
    other = cv.operators.Dense(be.asarray(np.eye(operator.shape[0])), backend=operator.backend)
    with pytest.warns(cv.DensifiedWarning, match="keeps neither structure"):
        total = other + operator
    assert total.matrix_free
    np.testing.assert_allclose(dense(total), dense(operator) + np.eye(operator.shape[0]), atol=1e-12)
    with pytest.warns(cv.DensifiedWarning, match="keeps neither structure"):
        product = other @ operator
    assert product.matrix_free
    np.testing.assert_allclose(dense(product), dense(operator), atol=1e-12)


def test_the_preconditioner_shares_the_passes(problem, name):
    """With K-FAC beside it, and with itself: the outputs of the batch are recorded once."""
    task = problem(cv.backend("numpy"))
    task.structure.layers  # these are proven by an evaluation of their own
    calls, recorded = [], task.recorded
    task.recorded = lambda batch: calls.append(batch.index) or recorded(batch)
    preconditioned = cv.approximation(name, preconditioner="kfac")
    together, kfac = cv.approximate(cv.Fisher(task), [preconditioned, "kfac"])
    assert calls == [0]
    np.testing.assert_array_equal(dense(together.near), dense(kfac))


def test_what_the_preconditioner_needs_is_checked(problem, name, monkeypatch):
    from curvature.approximation import generic

    checked = []
    monkeypatch.setattr(generic, "check_needs", lambda method, *backend: checked.append(method.name))
    cv.approximate(cv.Fisher(problem(cv.backend("numpy"))), name, preconditioner="kfac")
    assert set(checked) == {name, "kfac"}
