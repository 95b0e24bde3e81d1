"""Every operator through a file, from every backend to every other."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import curvature as cv
from curvature import operators
from curvature.operators import BlockDiagonal, Dense, Diagonal, MatrixFree, Product, Sum


def test_comes_back_to_the_last_bit(operator, identical, tmp_path):
    cv.save(operator, tmp_path / "operator.safetensors")
    loaded = cv.load(tmp_path / "operator.safetensors", operator.backend)
    identical(operator, loaded)
    assert loaded.backend == operator.backend
    assert loaded.dtype == operator.dtype


def test_goes_to_any_backend(operator, other, identical, tmp_path):
    path = tmp_path / "operator"
    cv.save(operator, path)
    loaded = cv.load(path, backend=other)
    assert loaded.backend == other
    identical(operator, loaded)
    # And the file that it writes there comes back here.
    cv.save(loaded, path)
    identical(operator, cv.load(path, operator.backend))


def test_products_and_solves_are_those_of_before(operator, tmp_path, generator):
    cv.save(operator, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", operator.backend)
    host, n = operator.backend.to_numpy, operator.shape[1]
    v = operator.backend.asarray(generator.standard_normal((n, 2)))
    np.testing.assert_array_equal(host(loaded @ v), host(operator @ v))


def test_the_cases_cover_the_algebra(cases):
    """Whoever adds an operator gives methods of pack and unpack, and a case here."""
    made = {type(make(np.asarray, np.random.default_rng(0))).__name__ for make in cases.values()}
    exported = {
        name
        for name, thing in vars(operators).items()
        if inspect.isclass(thing) and issubclass(thing, cv.Operator) and not inspect.isabstract(thing)
    }
    assert made == exported - {"MatrixFree"}


def test_a_tree_of_parameters_is_solved_on_another_backend(cases, other, generator, tmp_path):
    source = cases["blocks of parameters"](np.asarray, generator)
    cv.save(source, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", backend=other)
    values = {
        "z": [generator.standard_normal(3)],
        "a": {"bias": generator.standard_normal(2), "weight": generator.standard_normal((2, 3))},
    }
    tree = {"z": [other.asarray(values["z"][0])], "a": {name: other.asarray(v) for name, v in values["a"].items()}}
    solved, expected = loaded.solve(tree, damping=0.1), source.solve(values, damping=0.1)
    flat = np.concatenate([values["a"]["bias"], values["a"]["weight"].ravel(), values["z"][0]])
    reference = np.linalg.solve(source.to_dense() + 0.1 * np.eye(11), flat)
    got = [solved["a"]["bias"], solved["a"]["weight"], solved["z"][0]]
    np.testing.assert_allclose(np.concatenate([other.to_numpy(x).ravel() for x in got]), reference, rtol=1e-12)
    np.testing.assert_allclose(other.to_numpy(solved["a"]["weight"]), expected["a"]["weight"], rtol=1e-12)


def test_the_default_is_numpy(tmp_path):
    cv.save(Diagonal(np.ones(2)).to("torch"), str(tmp_path / "x"))
    assert cv.load(str(tmp_path / "x")).backend == cv.backend("numpy")


def test_an_approximation_of_a_problem(be, other, generator, tmp_path):
    params = {"b": be.asarray(np.zeros(2)), "w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    problem = cv.Problem(cv.Model(lambda p, x: x @ p["w"] + p["b"], params), cv.Categorical(), data)
    operator = cv.approximate(cv.Fisher(problem), "kfac")
    cv.save(operator, tmp_path / "kfac.safetensors")
    loaded = cv.load(tmp_path / "kfac.safetensors", backend=other)
    np.testing.assert_array_equal(other.to_numpy(loaded.to_dense()), other.to_numpy(operator.to(other).to_dense()))
    gradient = {name: other.asarray(be.to_numpy(g)) for name, g in problem.gradient().items()}
    solved, expected = loaded.solve(gradient, damping=0.1), operator.solve(problem.gradient(), damping=0.1)
    for name in params:
        np.testing.assert_allclose(other.to_numpy(solved[name]), be.to_numpy(expected[name]), rtol=1e-10, atol=1e-13)


def test_statistics_of_a_problem(be, generator, identical, tmp_path):
    params = {"w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    fisher = cv.Fisher(cv.Problem(cv.Model(lambda p, x: x @ p["w"], params), cv.Categorical(), data))
    method = cv.approximation("kfac")
    statistics = cv.estimate(fisher, method, be)
    cv.save(statistics, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", be)
    built = cv.build(method, loaded, fisher.problem.structure)
    identical(built, cv.build(method, statistics, fisher.problem.structure))


def test_what_is_matrix_free_is_refused_by_name(tmp_path):
    model = cv.Model(lambda p, x: x @ p["w"], {"w": np.ones((2, 2))})
    problem = cv.Problem(model, cv.Categorical(), (np.ones((1, 2)), np.array([0])))
    free = MatrixFree(lambda v: v, 3, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    for operator in (
        free,
        cv.Fisher(problem),
        cv.Hessian(problem),
        cv.Jacobian(problem),
        free + Diagonal(np.ones(3)),
        free @ free,
        free.scaled(2.0),
    ):
        name = "MatrixFree" if isinstance(operator, (Sum, Product)) else type(operator).__name__
        with pytest.raises(cv.UnsupportedError, match=rf"a {name} .* no arrays .*save an approximation .*to_dense\(\)"):
            cv.save(operator, tmp_path / "x")
    with pytest.raises(cv.UnsupportedError, match="a MatrixFree"):
        cv.save({"deep": [BlockDiagonal([Dense(np.eye(2), backend=free.backend), free])]}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_the_remedy_for_what_is_matrix_free_works(tmp_path, identical):
    model = cv.Model(lambda p, x: x @ p["w"], {"w": np.ones((2, 2))})
    fisher = cv.Fisher(cv.Problem(model, cv.Categorical(), (np.ones((1, 2)), np.array([0]))))
    dense = Dense(fisher.to_dense(), space=fisher.space)
    cv.save(dense, tmp_path / "x")
    identical(dense, cv.load(tmp_path / "x"))
