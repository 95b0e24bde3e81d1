"""Layers are proven before they are believed, and what fails takes the general path."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv


def dense_fisher(problem):
    """J S Sᵀ Jᵀ from the Jacobian, by NumPy."""
    be = problem.backend
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense())
    batch = next(problem.batches())
    outputs = problem.outputs(problem.params, batch)
    factor = be.to_numpy(problem.likelihood.fisher_factor(outputs))
    n, c, _ = factor.shape
    rows = np.einsum("ncp,ncr->nrp", jacobian.reshape(n, c, -1), factor)
    return np.einsum("nrp,nrq->pq", rows, rows) / n


def make(be, apply, params, x, c=2):
    arrays = {name: be.asarray(value) for name, value in params.items()}
    y = np.arange(x.shape[0]) % c
    return cv.Problem(cv.Model(apply, arrays), cv.Categorical(), (be.asarray(x), be.asarray(y)))


def kinds(problem):
    return {layer.name: layer.kind for layer in problem.structure.layers}


def check_against_dense(problem):
    be, expected = problem.backend, dense_fisher(problem)
    exact = be.to_numpy(cv.approximate(cv.Fisher(problem), "exact").to_dense())
    np.testing.assert_allclose(exact, expected, rtol=1e-10, atol=1e-13)
    diagonal = be.to_numpy(cv.approximate(cv.Fisher(problem), "diagonal").diagonal())
    np.testing.assert_allclose(diagonal, np.diag(expected), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(be.to_numpy(cv.Fisher(problem).to_dense()), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_dense_layer_joins_its_weight_and_bias(be, generator, transposed):
    w, b = generator.standard_normal((3, 2)), generator.standard_normal(2)

    def apply(p, x):
        weight = cv.namespace(p["w"]).matrix_transpose(p["w"]) if transposed else p["w"]
        return x @ weight + p["b"]

    problem = make(be, apply, {"w": w.T if transposed else w, "b": b}, generator.standard_normal((5, 3)))
    (layer,) = problem.structure.layers
    assert (layer.kind, layer.weight, layer.bias, layer.transposed) == ("affine", "w", "b", transposed)
    assert layer.block.shape == ((2, 4) if transposed else (4, 2))
    check_against_dense(problem)


def test_a_weight_that_is_used_twice(be, generator):
    """h = tanh(x W), f = h W V: W has two uses; K-FAC takes them as shared positions, the diagonal is still exact."""

    def apply(p, x):
        return cv.namespace(x).tanh(x @ p["w"]) @ p["w"] @ p["v"]

    params = {"w": generator.standard_normal((3, 3)), "v": generator.standard_normal((3, 2))}
    problem = make(be, apply, params, generator.standard_normal((5, 3)))
    assert kinds(problem) == {"w": "affine", "v": "affine"}
    assert len(problem.structure.layers[1].uses) == 2
    check_against_dense(problem)


def test_a_weight_tied_in_two_orientations(be, generator):
    def apply(p, x):
        xp = cv.namespace(x)
        return xp.tanh(x @ p["w"]) @ xp.matrix_transpose(p["w"]) @ p["v"]

    params = {"w": generator.standard_normal((3, 4)), "v": generator.standard_normal((3, 2))}
    problem = make(be, apply, params, generator.standard_normal((5, 3)))
    assert kinds(problem) == {"w": "mixed", "v": "affine"}
    check_against_dense(problem)


def test_a_weight_that_enters_in_a_second_way_is_not_half_counted(be, generator):
    """f = x W + (W's own sum): the matmul alone would give a part of the gradient."""

    def apply(p, x):
        xp = cv.namespace(x)
        return x @ p["w"] + xp.sum(p["w"] ** 2, axis=0)

    problem = make(be, apply, {"w": generator.standard_normal((3, 2))}, generator.standard_normal((5, 3)))
    assert kinds(problem) == {"w": "general"}
    with pytest.warns(cv.FallbackWarning):
        check_against_dense(problem)


def test_shared_positions(be, generator):
    """One weight at T positions, then a mean over them."""

    def apply(p, x):
        xp = cv.namespace(x)
        return xp.mean(xp.tanh(x @ p["w"] + p["b"]), axis=1) @ p["v"]

    params = {name: generator.standard_normal(s) for name, s in {"w": (3, 4), "b": (4,), "v": (4, 2)}.items()}
    problem = make(be, apply, params, generator.standard_normal((5, 6, 3)))
    assert kinds(problem) == {"w+b": "affine", "v": "affine"}
    check_against_dense(problem)


def test_examples_on_another_axis_are_noticed(be, generator):
    """(T, N, d) with T = N: shapes alone cannot tell, the proof does (or the backend has seen the axes move)."""

    def apply(p, x):
        xp = cv.namespace(x)
        return xp.mean(xp.permute_dims(x, (1, 0, 2)) @ p["w"], axis=0)

    x = generator.standard_normal((4, 4, 3))
    problem = make(be, apply, {"w": generator.standard_normal((3, 2))}, x)
    check_moved_examples(problem, {"w": "general"}, {"w": "affine"})


def check_moved_examples(problem, unseen, seen):
    """Right in any case, with a warning where the backend has not seen where the examples lie."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", cv.FallbackWarning)
        check_against_dense(problem)
    warned = any("examples are mixed" in str(w.message) or "by themselves for 'w'" in str(w.message) for w in caught)
    assert kinds(problem) == (unseen if warned else seen)
    assert warned or problem.backend.name == "torch"


def test_a_model_without_inputs(be):
    """p(y|θ): every example has the outputs θ."""
    theta = be.asarray(np.array([0.3, -0.2]))
    y = be.asarray(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]]))
    problem = cv.Problem(cv.Model(lambda params, x: params, theta), cv.Poisson(), (None, y))
    expected = np.diag(np.exp([0.3, -0.2]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("exact", "diagonal", "kfac"):
            dense = be.to_numpy(cv.approximate(cv.Fisher(problem), method).to_dense())
            np.testing.assert_allclose(dense, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(be.to_numpy(cv.Hessian(problem).to_dense()), expected, rtol=1e-12, atol=1e-15)


def test_many_parameters_outside_of_layers_go_backwards(be, generator):
    """More numbers than example-column pairs: one example at a time, backwards; the result is the same."""

    def apply(p, x):
        xp = cv.namespace(x)
        return xp.sum(x[:, :, None] * p["w"] ** 2, axis=1)

    problem = make(be, apply, {"w": generator.standard_normal((5, 2))}, generator.standard_normal((2, 5)))
    with pytest.warns(cv.FallbackWarning):
        check_against_dense(problem)


@pytest.mark.parametrize(
    "apply",
    [
        lambda p, x: (x @ p["w"] + p["b"]) + p["b"],
        lambda p, x: cv.namespace(x).tanh((x @ p["w"] + p["b"]) ** 2 + p["b"]),
        lambda p, x: cv.namespace(x).tanh(x @ p["w"] + p["b"]) @ p["v"] + p["b"],
    ],
)
def test_a_vector_that_is_a_bias_here_and_a_shift_there(be, generator, apply):
    params = {name: generator.standard_normal(s) for name, s in {"w": (3, 2), "b": (2,), "v": (2, 2)}.items()}
    problem = make(be, apply, params, generator.standard_normal((5, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.UnusedParameterWarning)
        check_against_dense(problem)


def test_a_structure_is_not_carried_over_to_other_positions(be, generator):
    """At T = 1 a product of (T·N, d) looks like one of examples; at T = 3 it is not."""

    def pooled(p, x):
        xp = cv.namespace(x)
        n, t, d = x.shape
        flat = xp.reshape(xp.permute_dims(x, (1, 0, 2)), (t * n, d))
        return xp.sum(xp.reshape(flat @ p["w"] + p["b"], (t, n, 2)), axis=0)

    params = {"w": generator.standard_normal((4, 2)), "b": generator.standard_normal(2)}
    one = make(be, pooled, params, generator.standard_normal((5, 1, 4)))
    check_against_dense(one)
    x, y = be.asarray(generator.standard_normal((5, 3, 4))), one.data.single.y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.FallbackWarning)
        check_against_dense(one.at(data=(x, y)))
    both = one.at(data=[(one.data.single.x, y), (x, y)])
    with pytest.raises(cv.ModelError, match=r"batch 1: .*w.* enter the model in another way"):
        cv.approximate(cv.Fisher(both), "diagonal")


def test_a_head_that_starts_at_zero_proves_nothing_by_itself(be, generator):
    """With a zero head every cotangent below is zero; examples on another axis must be noticed all the same."""

    def apply(p, x):
        xp = cv.namespace(x)
        hidden = xp.tanh(xp.permute_dims(x, (1, 0, 2)) @ p["w"])
        return xp.mean(hidden, axis=0) @ p["v"]

    params = {"w": generator.standard_normal((3, 4)), "v": np.zeros((4, 2))}
    problem = make(be, apply, params, generator.standard_normal((4, 4, 3)))
    found = kinds(problem)  # found where the head is zero, and kept
    trained = problem.at({"w": problem.params["w"], "v": be.asarray(generator.standard_normal((4, 2)))})
    assert kinds(trained) == found
    check_moved_examples(trained, {"w": "general", "v": "affine"}, {"w": "affine", "v": "affine"})


def test_a_model_that_couples_its_examples_later_is_noticed_later(generator):
    """A module that is put back into training mode after its structure was found."""
    training = []

    def apply(p, x):
        xp = cv.namespace(x)
        return (x - xp.mean(x, axis=0) if training else x) @ p["w"]

    problem = make(cv.backend("numpy"), apply, {"w": generator.standard_normal((3, 2))}, generator.standard_normal((5, 3)))
    for before in (1, 25):
        training.clear()
        for _ in range(before):
            cv.approximate(cv.Fisher(problem), "diagonal")
        training.append(True)
        with pytest.raises(cv.ModelError, match="couples its examples"):
            _ = [cv.approximate(cv.Fisher(problem), "diagonal") for _ in range(1 if before == 1 else 10)]


def test_a_model_with_values_on_a_part_of_the_parameters_only(generator):
    """The proof moves the parameters; where the model is not defined there, it stays where they are."""
    be = cv.backend("numpy")

    def apply(p, x):
        root = cv.namespace(p["s"]).linalg.cholesky(p["s"])
        return x @ p["w"] @ root

    params = {"w": generator.standard_normal((4, 2)), "s": np.eye(2) * 1e-9 + (1 - 1e-9)}
    problem = make(be, apply, params, generator.standard_normal((6, 4)))
    assert kinds(problem) == {"s": "general", "w": "affine"}
    with pytest.warns(cv.FallbackWarning):
        diagonal = cv.approximate(cv.Fisher(problem), "diagonal")
    np.testing.assert_allclose(diagonal.diagonal(), np.diag(dense_fisher(problem)), rtol=1e-6, atol=1e-8)


def test_a_namespace_may_come_from_any_parameter(be, generator):
    """Also where only some are differentiated: gradients of each example, backwards."""

    def apply(p, x):
        xp = cv.namespace(p["b"])
        return xp.tanh(x @ p["w"] + p["b"]) @ p["v"] + xp.sum(p["v"] ** 2)

    params = {"w": generator.standard_normal((4, 5)), "b": np.zeros(5), "v": generator.standard_normal((5, 2))}
    problem = make(be, apply, params, generator.standard_normal((2, 4)))
    with pytest.warns(cv.FallbackWarning):
        check_against_dense(problem)


def test_random_outputs_are_noticed_however_small(generator):
    random = np.random.default_rng(1)

    def apply(p, x):
        return 1e-2 * ((x * (random.uniform(size=x.shape) > 0.5).astype(np.float32)) @ p["w"])

    params = {"w": generator.standard_normal((30, 2)).astype(np.float32)}
    x, y = generator.standard_normal((5, 30)).astype(np.float32), generator.integers(0, 2, 5)
    problem = cv.Problem(cv.Model(apply, params), cv.Categorical(), (x, y))
    with pytest.raises(cv.ModelError, match="is random"):
        cv.approximate(cv.Fisher(problem), "diagonal")


def test_the_structure_is_found_once_for_a_model(be, generator, monkeypatch):
    from curvature.problem import evaluation

    calls = []
    original = evaluation.find_layers
    monkeypatch.setattr(evaluation, "find_layers", lambda *args: calls.append(1) or original(*args))
    problem = make(be, lambda p, x: x @ p["w"], {"w": generator.standard_normal((3, 2))}, generator.standard_normal((5, 3)))
    for _ in range(3):
        cv.approximate(cv.Fisher(problem.at(problem.params)), "kfac")
    assert len(calls) == 1
