"""What cannot be differentiated says so, names itself and the remedy; choices at kinks are as documented."""

from __future__ import annotations

import copy

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest

from curvature import autodiff
from curvature.backend import namespace
from curvature.errors import DifferentiationError, MixedBackendError

DECISIONS = {
    "if": lambda x: x if x[0] > 0 else -x,
    "float": lambda x: x * float(x[0]),
    "int": lambda x: x * int(x[0]),
    "mask": lambda x: x[x > 0],
    "mask in a tuple": lambda x: x[(x > 0,)],
    "assignment": lambda x: x.__setitem__(0, 1.0),
}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("transform", [autodiff.vjp, lambda f, x: autodiff.jvp(f, x, x)])
def test_decisions_on_values_name_the_remedy(lib, decision, transform):
    with pytest.raises(DifferentiationError, match="where"):
        transform(DECISIONS[decision], lib.normal(3))


NUMPY_CALLS = {
    "ufunc": lambda x: np.exp(x),
    "reduction": lambda x: np.sum(x),
    "function": lambda x: np.concatenate([x, x]),
    "asarray": lambda x: np.asarray(x),
}


@pytest.mark.parametrize("call", NUMPY_CALLS)
def test_numpy_functions_are_refused_with_the_way_to_write_them(call):
    with pytest.raises(DifferentiationError, match=r"curvature\.namespace\(x\)"):
        autodiff.vjp(NUMPY_CALLS[call], np.ones(3))


@pytest.mark.parametrize(
    "combine",
    [lambda c, x: c @ x, lambda c, x: c + x, lambda c, x: c * x, lambda c, x: c[0, 0] * x, lambda c, x: c / x],
)
def test_numpy_on_the_left_of_an_operator(combine):
    constant, x = np.arange(9.0).reshape(3, 3), np.ones(3)
    _, dy = autodiff.jvp(lambda x: combine(constant, x), x, x)
    step = 1e-6
    np.testing.assert_allclose(dy, (combine(constant, x + step * x) - combine(constant, x - step * x)) / (2 * step))


def test_a_function_without_a_rule_is_named(lib):
    with pytest.raises(DifferentiationError, match=r"linalg\.svd has no derivative rule"):
        autodiff.vjp(lambda x: namespace(x).linalg.svd(x)[1], lib.normal(3, 3))
    with pytest.raises(DifferentiationError, match="unique_values has no derivative rule"):
        autodiff.vjp(lambda x: namespace(x).unique_values(x), lib.normal(3))


def test_functions_without_a_rule_serve_plain_arrays(lib):
    xp = namespace(autodiff.lift(lib.normal(2)))
    assert xp.unique_values(lib.array([1.0, 1.0])).shape == (1,)


def test_an_unknown_attribute_or_function(lib):
    with pytest.raises(AttributeError, match=r"xp\.relu"):
        autodiff.vjp(lambda x: x.relu(), lib.normal(2))
    with pytest.raises(AttributeError):
        autodiff.vjp(lambda x: namespace(x).no_such_function(x), lib.normal(2))


def test_a_list_of_traced_arrays_is_no_array(lib):
    with pytest.raises(DifferentiationError, match="stack"):
        autodiff.vjp(lambda x: namespace(x).asarray([x[0], x[1]]), lib.normal(2))


def test_traced_arrays_can_be_copied(lib):
    x = autodiff.lift(lib.normal(2))
    np.testing.assert_array_equal(np.asarray(copy.deepcopy(x)._value), np.asarray(x._value))


def test_namespace_of_plain_traced_and_mixed_arrays():
    x, s = np.ones(2), array_api_strict.ones(2)
    assert namespace(x, 1.0, None) is array_api_compat.numpy
    assert namespace(s) is array_api_strict
    lifted = autodiff.lift(x)
    assert namespace(x, lifted) is namespace(lifted) is lifted.__array_namespace__()
    with pytest.raises(MixedBackendError, match=r"numpy.*array_api_strict"):
        namespace(x, s)
    with pytest.raises(MixedBackendError):
        namespace(lifted, s)
    with pytest.raises(TypeError, match="no array"):
        namespace(1.0)
    with pytest.raises(TypeError, match="str is not an array"):
        namespace("x")


def test_lift_wraps_arrays_only(lib):
    tree = autodiff.lift({"x": lib.normal(2), "n": 3, "name": "batch"})
    assert isinstance(tree["x"], autodiff.Traced)
    assert (tree["n"], tree["name"]) == (3, "batch")
    assert autodiff.lift(tree["x"]) is tree["x"]


def slope(f, x):
    return np.asarray(autodiff.vjp(f, x)[1](x * 0 + 1))


def test_kinks(lib):
    zero = lib.array([0.0])
    one = lib.array([1.0])
    assert slope(lambda x: namespace(x).maximum(x, 0.0), zero) == 0.0
    assert slope(lambda x: namespace(x).maximum(0.0, x), zero) == 0.0
    assert slope(lambda x: namespace(x).maximum(x, namespace(x).zeros_like(x)), zero) == 0.5
    assert slope(lambda x: namespace(x).minimum(x, 0), zero) == 0.0
    assert slope(lambda x: namespace(x).abs(x), zero) == 0.0
    assert slope(lambda x: namespace(x).clip(x, 0.0, 1.0), zero) == 1.0
    assert slope(lambda x: namespace(x).clip(x, max=1), one) == 1.0
    assert slope(lambda x: namespace(x).linalg.vector_norm(x, keepdims=True), zero) == 0.0
    assert slope(lambda x: x**2, zero) == 0.0
    assert slope(lambda x: x**0, zero) == 0.0


def test_ties_of_max_share_equally(lib):
    x = lib.array([1.0, 3.0, 3.0])
    np.testing.assert_array_equal(np.asarray(autodiff.gradient(lambda x: namespace(x).max(x))(x)), [0.0, 0.5, 0.5])


def test_where_keeps_the_branch_not_taken_out(lib):
    """The derivative of sqrt at 0 is infinite, but that branch is not the one taken."""
    x = lib.array([0.0, 4.0])

    def f(x):
        xp = namespace(x)
        return xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, 1.0)), 0.0)

    np.testing.assert_array_equal(slope(f, x), [0.0, 0.25])
