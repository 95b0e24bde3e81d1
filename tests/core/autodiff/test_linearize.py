"""The transforms: trees, residuals that are kept, adjointness, what is never computed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from curvature import autodiff
from curvature.backend import namespace
from curvature.errors import DifferentiationError, ShapeError


def network(params, x):
    xp = namespace(params["layers"][0][0], x)
    for w, b in params["layers"]:
        x = xp.tanh(x @ w + b)
    return {"scores": x, "norm": xp.sum(x * x, axis=-1)}


def network_params(lib, seed=0):
    sizes = [3, 5, 4]
    return {"layers": [(lib.normal(m, n, seed=seed), lib.normal(n, seed=seed)) for m, n in itertools.pairwise(sizes)]}


def flat(tree):
    import optree

    return np.concatenate([np.asarray(a).ravel() for a in optree.tree_leaves(tree)])


def test_push_and_pull_are_adjoint_on_trees(lib):
    params, tangent = network_params(lib), network_params(lib, seed=1)
    x = autodiff.lift(lib.normal(6, 3))
    y, push, pull = autodiff.linearize(lambda p: network(p, x), params)
    u = {"scores": lib.normal(6, 4), "norm": lib.normal(6)}
    np.testing.assert_allclose(flat(u) @ flat(push(tangent)), flat(pull(u)) @ flat(tangent), rtol=1e-12)
    np.testing.assert_allclose(flat(push(tangent)), flat(autodiff.jvp(lambda p: network(p, x), params, tangent)[1]))
    y2, dy, pull2 = autodiff.jvp_and_pull(lambda p: network(p, x), params, tangent)
    np.testing.assert_array_equal(flat(dy), flat(push(tangent)))
    np.testing.assert_array_equal(flat(pull2(u)), flat(pull(u)))
    np.testing.assert_array_equal(flat(y2), flat(y))


def test_gradient_agrees_with_finite_differences(lib):
    params, tangent = network_params(lib), network_params(lib, seed=1)
    x = autodiff.lift(lib.normal(6, 3))

    def loss(p):
        y = network(p, x)
        return namespace(y["norm"]).mean(y["norm"])

    import optree

    def shifted(step):
        return float(loss(optree.tree_map(lambda a, t: autodiff.lift(a + step * t), params, tangent))._value)

    slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5
    np.testing.assert_allclose(flat(autodiff.gradient(loss)(params)) @ flat(tangent), slope, rtol=1e-8)


def test_the_function_runs_once_however_often_the_maps_are_applied(lib):
    calls = []

    def f(x):
        calls.append(1)
        return namespace(x).exp(x)

    x = lib.normal(3)
    _, push, pull = autodiff.linearize(f, x)
    first = [np.asarray(push(x)), np.asarray(pull(x))]
    again = [np.asarray(push(x)), np.asarray(pull(x))]
    np.testing.assert_array_equal(first, again)
    assert len(calls) == 1


def test_outputs_that_do_not_depend_on_the_primal_have_zero_derivative(lib):
    x = lib.normal(3)
    constant = autodiff.lift(lib.normal(2))
    y, push, pull = autodiff.linearize(lambda x: (constant * 2.0, x), x)
    np.testing.assert_array_equal(np.asarray(push(x)[0]), np.zeros(2))
    np.testing.assert_array_equal(np.asarray(pull(y)), np.asarray(x))
    value, gradient = autodiff.value_and_gradient(lambda x: namespace(constant).sum(constant), x)
    np.testing.assert_array_equal(np.asarray(gradient), np.zeros(3))
    assert not isinstance(value, autodiff.Traced)


def test_a_leaf_that_does_not_enter_has_zero_gradient(lib):
    params = {"used": lib.normal(3), "unused": lib.normal(2, 2)}
    gradient = autodiff.gradient(lambda p: namespace(p["used"]).sum(p["used"]))(params)
    np.testing.assert_array_equal(np.asarray(gradient["unused"]), np.zeros((2, 2)))


def test_one_array_given_out_twice(lib):
    x = lib.normal(3)
    (a, b), pull = autodiff.vjp(lambda x: (x, x), x)
    np.testing.assert_allclose(np.asarray(pull((a, b))), 2.0 * np.asarray(x))


def test_seeds_take_the_dtype_of_what_they_belong_to(lib32):
    x = lib32.normal(3)
    _, pull = autodiff.vjp(lambda x: x * 2.0, x)
    seed = lib32.xp.ones((3,), dtype=lib32.xp.float64)
    assert pull(seed).dtype == x.dtype


def test_mixed_precision_gives_every_cotangent_its_own_dtype():
    import array_api_compat.numpy as xp

    params = {"low": xp.ones((3, 2), dtype=xp.float32), "high": xp.ones((2, 2), dtype=xp.float64)}

    def f(p):
        return namespace(p["low"]).sum((p["low"] * 2.0) @ p["high"] + p["low"] * p["high"][0, :] + p["low"])

    gradient = autodiff.gradient(f)(params)
    assert gradient["low"].dtype == xp.float32
    assert gradient["high"].dtype == xp.float64


def test_no_cotangent_is_computed_for_constants(lib, monkeypatch):
    """A product with data costs one product back, not two."""
    from curvature.autodiff.namespace import operations

    x, w = autodiff.lift(lib.normal(4, 3)), lib.normal(3, 2)
    y, pull = autodiff.vjp(lambda w: x @ w, w)
    counted = []
    op = operations(w)
    matmul = op.matmul
    monkeypatch.setattr(op, "matmul", lambda *a: counted.append(1) or matmul(*a))
    pull(y)
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda lib: lib.normal(2), "structure"),
        (lambda lib: {"w": lib.normal(3)}, "'w' has shape"),
    ],
)
def test_a_tangent_that_does_not_fit_is_named(lib, bad, message):
    params = {"w": lib.normal(2)}
    with pytest.raises(ShapeError, match=message):
        autodiff.jvp(lambda p: p["w"] * 2.0, params, bad(lib))


def test_gradients_are_of_scalars(lib):
    with pytest.raises(ShapeError, match=r"output of shape \(\)"):
        autodiff.gradient(lambda x: x * 2.0)(lib.normal(2))


def test_integers_are_not_differentiated(lib):
    with pytest.raises(DifferentiationError, match="int64"):
        autodiff.vjp(lambda p: p["n"], {"n": lib.integers([1, 2])})
