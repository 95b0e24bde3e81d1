"""What cannot be differentiated says so, names itself and the remedy; choices at kinks are as documented."""

from __future__ import annotations

import copy
import math
import operator

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest
import torch

from curvature import autodiff
from curvature.backend import namespace
from curvature.errors import DifferentiationError, MixedBackendError

DECISIONS = {
    "if": lambda x: x if x[0] > 0 else -x,
    "float": lambda x: x * float(x[0]),
    "int": lambda x: x * int(x[0]),
    "complex": lambda x: x * complex(x[0]),
    "math": lambda x: x * math.exp(x[0]),
    "round": lambda x: x * round(x[0]),
    "while": lambda x: next(x for _ in iter(lambda: bool(x[0] > 0), None)),
    "assert": lambda x: _asserted(x),
    "in": lambda x: x if 1.0 in x else -x,
    "or": lambda x: (x[0] > 0) or x,
    "list index": lambda x: [x, -x][x[0]],
    "range": lambda x: [x for _ in range(x[0])],
    "slice": lambda x: x[: x[0]],
    "list": lambda x: x[[0, 2]],
    "Python boolean": lambda x: x[True],
}
WRITES = {
    "assignment": lambda x: x.__setitem__(0, 1.0),
    "augmented assignment of elements": lambda x: _add_into(x, 1.0),
    "deletion": lambda x: x.__delitem__(0),
    "into a NumPy array": lambda x: _add_into(np.zeros(3), x),
    "out": lambda x: np.add(np.zeros(3), x, out=np.zeros(3)),
    "ufunc.at": lambda x: np.add.at(np.zeros(3), [0, 1, 2], x),
    "augmented NumPy array": lambda x: _iadd(np.zeros(3), x),
    "all of a NumPy array": lambda x: np.zeros(3).__setitem__(slice(None), x),
}


def _asserted(x):
    assert x[0] > -100
    return x


def _add_into(target, x):
    target[...] += x
    return target


def _iadd(target, x):
    target += x
    return target


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("transform", [autodiff.vjp, lambda f, x: autodiff.jvp(f, x, x)])
def test_decisions_on_values_name_the_remedy(lib, decision, transform):
    with pytest.raises(DifferentiationError, match="where"):
        transform(DECISIONS[decision], lib.normal(3))


@pytest.mark.parametrize("write", WRITES)
def test_writing_in_place_names_what_to_do_instead(write):
    with pytest.raises(DifferentiationError, match=r"xp\.(where|concat).*xp = curvature\.namespace\(x\)"):
        autodiff.vjp(WRITES[write], np.ones(3))


def test_one_element_written_into_a_numpy_array():
    """NumPy says something else, and gives our error as the cause."""
    with pytest.raises((DifferentiationError, ValueError)) as raised:
        autodiff.vjp(lambda x: np.zeros(3).__setitem__(0, x[0]), np.ones(3))
    assert isinstance(raised.value.__cause__ or raised.value, DifferentiationError)


TENSOR_WRITES = {
    "assignment": lambda t, x: t.__setitem__(0, x[0]),
    "augmented": lambda t, x: _iadd(t, x),
    "method": lambda t, x: t.copy_(x),
}


@pytest.mark.parametrize("write", TENSOR_WRITES)
def test_writing_into_a_tensor(write):
    with pytest.raises(DifferentiationError, match="in place"):
        autodiff.vjp(lambda x: TENSOR_WRITES[write](torch.zeros(3, dtype=torch.float64), x), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("call", [lambda x: torch.exp(x), lambda x: torch.stack([x, x]), lambda x: torch.nn.functional.relu(x)])
def test_torch_functions_are_refused_with_the_way_to_write_them(call):
    with pytest.raises(DifferentiationError, match=r"torch\.\w+ of an array .* curvature\.namespace\(x\)"):
        autodiff.vjp(call, torch.ones(3, dtype=torch.float64))


OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lt", "le", "gt", "ge", "eq", "ne")


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_with_the_array_on_either_side(lib, name):
    """c ∘ x and x ∘ c agree with the plain arrays' values, and with central differences."""
    apply = getattr(operator, name)
    c, x, v = lib.array([1.3, 2.2, 0.7]), lib.array([0.4, 1.9, 1.1]), lib.normal(3)
    functions = [lambda x: apply(x, c), lambda x: apply(autodiff.lift(c), x)]
    if lib.xp is not array_api_strict:  # which refuses a foreign array on the right; constants are lifted there
        functions.append(lambda x: apply(c, x))
    for f in functions:
        y, dy = autodiff.jvp(f, x, v)
        plain = f(x)
        plain = plain._value if isinstance(plain, autodiff.Traced) else plain
        np.testing.assert_array_equal(np.asarray(y), np.asarray(plain))
        if name in ("lt", "le", "gt", "ge", "eq", "ne", "floordiv"):
            np.testing.assert_array_equal(np.asarray(dy), np.zeros(3))
            continue
        ahead, behind = (f(autodiff.lift(x + s * v))._value for s in (1e-6, -1e-6))
        np.testing.assert_allclose(np.asarray(dy), (np.asarray(ahead) - np.asarray(behind)) / 2e-6, rtol=1e-7, atol=1e-8)


def test_augmented_assignment_makes_a_new_array(lib):
    def f(x):
        y = x
        y += 1.0
        y *= x
        y **= 2
        return y - x

    x = lib.array([0.5, 2.0])
    expected = 2 * (np.asarray(x) + 1) * np.asarray(x) * (2 * np.asarray(x) + 1) - 1
    np.testing.assert_allclose(slope(f, x), expected, rtol=1e-14)


POWERS = {
    "0 ** 0": (lambda x: x**0, 0.0, 0.0),
    "0 ** 1": (lambda x: x**1, 0.0, 1.0),
    "0 ** 2": (lambda x: x**2, 0.0, 0.0),
    "0 ** 3": (lambda x: x**3, 0.0, 0.0),
    "(-2) ** 3": (lambda x: x**3, -2.0, 12.0),
    "(-2) ** -1": (lambda x: x**-1, -2.0, -0.25),
    "(-2) ** 0": (lambda x: x**0, -2.0, 0.0),
    "2.0 ** x": (lambda x: 2.0**x, 3.0, 8 * math.log(2)),
    "0 ** x": (lambda x: 0.0**x, 3.0, 0.0),
    "array exponent 0": (lambda x: x ** namespace(x).zeros_like(x), 0.0, 0.0),
    "array exponent 1": (lambda x: x ** namespace(x).ones_like(x), 0.0, 1.0),
    "array exponent 2": (lambda x: x ** namespace(x).full_like(x, 2.0), -3.0, -6.0),
    "array base 0": (lambda x: namespace(x).zeros_like(x) ** x, 2.0, 0.0),
}


@pytest.mark.parametrize("name", POWERS)
def test_powers_of_zero_and_of_negative_numbers(lib, name):
    f, at, expected = POWERS[name]
    np.testing.assert_allclose(slope(f, lib.array([at])), [expected], rtol=1e-15)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4])
def test_second_derivatives_of_powers_at_zero(lib, exponent):
    x = lib.array([0.0])
    xp = lib.xp
    curved = autodiff.hvp(lambda x: namespace(x).sum(x**exponent), x, xp.ones_like(x))
    by_array = autodiff.hvp(lambda x: namespace(x).sum(x ** namespace(x).full_like(x, float(exponent))), x, xp.ones_like(x))
    assert float(curved[0]) == float(by_array[0]) == (2.0 if exponent == 2 else 0.0)


COMPLEX = {
    "complex number": lambda x: namespace(x).abs(x * 1j),
    "astype": lambda x: namespace(x).abs(namespace(x).astype(x, namespace(x).complex128)),
    "asarray": lambda x: namespace(x).asarray(x, dtype=namespace(x).complex128),
}


@pytest.mark.parametrize("way", COMPLEX)
def test_complex_numbers_are_refused_where_they_come_in(way):
    """|ix| has the derivative sign(x), which rules of real functions would get wrong."""
    with pytest.raises(DifferentiationError, match="complex"):
        autodiff.vjp(COMPLEX[way], np.ones(3))


def test_an_array_to_write_the_result_into_is_refused(lib):
    with pytest.raises(TypeError, match="out"):
        autodiff.vjp(lambda x: namespace(x).exp(x, out=lib.normal(3)), lib.normal(3))


@pytest.mark.parametrize("name", ["arange", "zeros", "eye"])
def test_sizes_do_not_depend_on_what_is_differentiated(lib, name):
    with pytest.raises(DifferentiationError, match=f"^{name} of a value"):
        autodiff.vjp(lambda x: getattr(namespace(x), name)(x[0]), lib.normal(3))


def test_devices_are_not_crossed():
    devices = array_api_strict.__array_namespace_info__().devices()
    x = array_api_strict.ones(3, device=devices[0])
    autodiff.vjp(lambda x: x.to_device(devices[0]), x)
    for move in (lambda x: x.to_device(devices[1]), lambda x: namespace(x).asarray(x, device=devices[1])):
        with pytest.raises(DifferentiationError, match="cannot be moved"):
            autodiff.vjp(move, x)


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
    with pytest.raises(DifferentiationError, match=r"linalg\.svd\(full_matrices=True\) of shape \(3, 2\).*full_matrices=False"):
        autodiff.vjp(lambda x: namespace(x).linalg.svd(x)[1], lib.normal(3, 2))
    with pytest.raises(DifferentiationError, match=r"linalg\.qr\(mode='complete'\) of shape \(3, 2\).*mode='reduced'"):
        autodiff.vjp(lambda x: namespace(x).linalg.qr(x, mode="complete")[1], lib.normal(3, 2))
    with pytest.raises(DifferentiationError, match="unique_values has no derivative rule"):
        autodiff.vjp(lambda x: namespace(x).unique_values(x), lib.normal(3))


def test_functions_without_a_rule_serve_plain_arrays(lib):
    xp = namespace(autodiff.lift(lib.normal(2)))
    assert xp.unique_values(lib.array([1.0, 1.0])).shape == (1,)


def test_an_unknown_attribute_or_function(lib):
    with pytest.raises(AttributeError, match=r"xp\.relu"):
        autodiff.vjp(lambda x: x.relu(), lib.normal(2))
    for name in ("at", "add_", "fill_"):
        with pytest.raises(AttributeError, match=r"in place.*xp\.where"):
            autodiff.vjp(lambda x, name=name: getattr(x, name), lib.normal(2))
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
    assert slope(lambda x: namespace(x).linalg.vector_norm(x, ord=3, keepdims=True), zero) == 0.0
    assert slope(lambda x: namespace(x).hypot(x, x), zero) == 0.0
    same = lib.array([2.0, 2.0])
    np.testing.assert_array_equal(slope(lambda x: namespace(x).std(x) + 0.0 * x, same), [0.0, 0.0])


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
