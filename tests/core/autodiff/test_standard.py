"""Every function of the Array API standard is in one class: nothing falls between.

It is differentiable and tested, or locally constant, or makes or inspects arrays, or is refused by its name.
"""

from __future__ import annotations

import array_api_compat.numpy as numpy_xp
import array_api_compat.torch as torch_xp
import array_api_strict
import numpy as np
import pytest
import torch

from curvature import autodiff
from curvature.backend import namespace
from curvature.errors import DifferentiationError

from .cases import CASES, points

# Beyond the table: functions whose reference is not in PyTorch, tested below by name.
BESIDE = {"nextafter"}
CONSTANT = {
    "equal": lambda xp, x: xp.equal(x, x),
    "not_equal": lambda xp, x: xp.not_equal(x, 0.5),
    "less": lambda xp, x: xp.less(x, 0.5),
    "less_equal": lambda xp, x: xp.less_equal(0.5, x),
    "greater": lambda xp, x: xp.greater(x, 0.5),
    "greater_equal": lambda xp, x: xp.greater_equal(x, x),
    "sign": lambda xp, x: xp.sign(x),
    "signbit": lambda xp, x: xp.signbit(x),
    "floor": lambda xp, x: xp.floor(x),
    "ceil": lambda xp, x: xp.ceil(x),
    "round": lambda xp, x: xp.round(x),
    "trunc": lambda xp, x: xp.trunc(x),
    "floor_divide": lambda xp, x: xp.floor_divide(x, 0.3),
    "isnan": lambda xp, x: xp.isnan(x),
    "isinf": lambda xp, x: xp.isinf(x),
    "isfinite": lambda xp, x: xp.isfinite(x),
    "isin": lambda xp, x: xp.isin(xp.astype(x * 2, xp.int64), xp.astype(x[:1, ...] * 2, xp.int64)),
    "logical_and": lambda xp, x: xp.logical_and(x > 0, x < 1),
    "logical_or": lambda xp, x: xp.logical_or(x > 1, x < 0),
    "logical_xor": lambda xp, x: xp.logical_xor(x > 0, x < 1),
    "logical_not": lambda xp, x: xp.logical_not(x > 0),
    "bitwise_and": lambda xp, x: xp.bitwise_and(x > 0, x < 1),
    "bitwise_or": lambda xp, x: xp.bitwise_or(x > 1, x < 0),
    "bitwise_xor": lambda xp, x: xp.bitwise_xor(x > 0, x < 1),
    "bitwise_invert": lambda xp, x: xp.bitwise_invert(x > 0),
    "bitwise_left_shift": lambda xp, x: xp.bitwise_left_shift(xp.astype(xp.abs(x) * 8, xp.int64), 1),
    "bitwise_right_shift": lambda xp, x: xp.bitwise_right_shift(xp.astype(xp.abs(x) * 8, xp.int64), 1),
    "all": lambda xp, x: xp.all(x > -1, axis=1),
    "any": lambda xp, x: xp.any(x > 1, axis=0, keepdims=True),
    "count_nonzero": lambda xp, x: xp.count_nonzero(x > 0, axis=1),
    "argmax": lambda xp, x: xp.argmax(x, axis=1),
    "argmin": lambda xp, x: xp.argmin(x, axis=0, keepdims=True),
    "argsort": lambda xp, x: xp.argsort(x, axis=0, descending=True),
    "searchsorted": lambda xp, x: xp.searchsorted(xp.sort(x[0, :]), x[1, :], side="right"),
    "nonzero": lambda xp, x: xp.nonzero(x > 0)[1],
    "linalg.matrix_rank": lambda xp, x: xp.linalg.matrix_rank(x),
}
NEW = {
    "zeros": lambda xp, x: xp.zeros(2, dtype=x.dtype),
    "ones": lambda xp, x: xp.ones((2, 1), dtype=x.dtype),
    "empty": lambda xp, x: xp.empty((0, 2), dtype=x.dtype),
    "full": lambda xp, x: xp.full((2,), 3.0, dtype=x.dtype),
    "eye": lambda xp, x: xp.eye(2, 3, k=1, dtype=x.dtype),
    "arange": lambda xp, x: xp.arange(1.0, 3.0, 0.5, dtype=x.dtype),
    "linspace": lambda xp, x: xp.linspace(0.0, 1.0, 4, dtype=x.dtype),
    "asarray": lambda xp, x: xp.asarray([1.0, 2.0], dtype=x.dtype),
    "zeros_like": lambda xp, x: xp.zeros_like(x),
    "ones_like": lambda xp, x: xp.ones_like(x),
    "empty_like": lambda xp, x: xp.empty_like(x[:0, ...]),
    "full_like": lambda xp, x: xp.full_like(x, 2.0),
    "from_dlpack": lambda xp, x: xp.from_dlpack(np.arange(2.0)),
    "fft.fftfreq": lambda xp, x: xp.fft.fftfreq(4),
    "fft.rfftfreq": lambda xp, x: xp.fft.rfftfreq(5),
}
INSPECTION = {
    "isdtype": lambda xp, x: xp.isdtype(x.dtype, "real floating"),
    "can_cast": lambda xp, x: xp.can_cast(x, xp.float64),
    "result_type": lambda xp, x: xp.result_type(x, xp.float32),
    "finfo": lambda xp, x: xp.finfo(x.dtype).eps,
    "iinfo": lambda xp, x: xp.iinfo(xp.int16).max,
    "broadcast_shapes": lambda xp, x: xp.broadcast_shapes(x.shape, (4, 1, 1)),
    "__array_namespace_info__": lambda xp, x: xp.__array_namespace_info__().default_dtypes()["integral"],
}
REFUSED = {
    "real", "imag", "unique_all", "unique_counts", "unique_inverse", "unique_values", "linalg.eig", "linalg.eigvals",
    "fft.fft", "fft.ifft", "fft.fftn", "fft.ifftn", "fft.rfft", "fft.irfft", "fft.rfftn", "fft.irfftn", "fft.hfft",
    "fft.ihfft",
}  # fmt: skip


LATER = {"isin", "linalg.eig", "linalg.eigvals"}  # of the version after 2024.12: not every strict namespace has them


def standard():
    """Every function of the standard, from the namespace that has nothing else."""
    flags = {"set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags"}
    types = {"ArrayAPIStrictFlags", "Device"}
    names = {n for n in array_api_strict.__all__ if callable(getattr(array_api_strict, n))} - flags - types
    for extension in ("linalg", "fft"):
        names |= {f"{extension}.{n}" for n in getattr(array_api_strict, extension).__all__}
    return names


class Spy:
    """A namespace that writes down which functions were asked of it."""

    def __init__(self, xp, seen, prefix=""):
        self._xp, self._seen, self._prefix = xp, seen, prefix

    def __getattr__(self, name):
        if name in ("linalg", "fft"):
            return Spy(getattr(self._xp, name), self._seen, f"{name}.")
        self._seen.add(self._prefix + name)
        return getattr(self._xp, name)


def differentiable():
    """The functions that the table of differentiable cases calls."""
    seen = set()
    for case in CASES.values():
        case.function(Spy(torch_xp, seen), *[torch.asarray(p) for p in points(case)])
    return seen


def test_nothing_falls_between():
    declared = [set(CONSTANT), set(NEW), set(INSPECTION), REFUSED]
    others = set().union(*declared)
    assert sum(map(len, declared)) == len(others)
    names = standard()
    assert len(names) > 170
    missing = names - others - differentiable() - BESIDE
    assert missing == set()
    assert others - names <= LATER


@pytest.fixture
def x(lib):
    return lib.array(np.random.default_rng(5).normal(size=(3, 4)))


@pytest.mark.parametrize("name", CONSTANT | NEW)
def test_locally_constant_functions_and_new_arrays(lib, x, name):
    """The library's own value, and derivative zero when it scales what is differentiated."""
    call = (CONSTANT | NEW)[name]
    expected = call(lib.xp, x)
    values = []

    def f(x):
        xp = namespace(x)
        y = call(xp, x)
        assert isinstance(y, autodiff.Traced)
        values.append(y._value)
        return xp.sum(xp.astype(y, x.dtype)) * xp.sum(x)

    total = float(lib.xp.sum(lib.xp.astype(expected, x.dtype)))
    gradient = autodiff.gradient(f)(x)
    np.testing.assert_array_equal(np.asarray(values[0]), np.asarray(expected))
    assert values[0].dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(gradient), np.full((3, 4), total), rtol=1e-14)


@pytest.mark.parametrize("name", INSPECTION)
def test_questions_have_the_answers_of_the_library(lib, x, name):
    answers = []
    autodiff.vjp(lambda x: answers.append(INSPECTION[name](namespace(x), x)) or x, x)
    assert answers[0] == INSPECTION[name](lib.xp, x)


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("transform", [autodiff.vjp, lambda f, x: autodiff.jvp(f, x, x)])
def test_functions_without_derivative_are_refused_by_name(x, lib, name, transform):
    *extension, function = name.split(".")
    xp = getattr(lib.xp, extension[0]) if extension else lib.xp
    if not hasattr(xp, function):
        pytest.skip(f"{lib.xp.__name__} has no {name}")

    def f(x):
        xp = namespace(x)
        return getattr(getattr(xp, extension[0]) if extension else xp, function)(x)

    with pytest.raises(DifferentiationError, match=rf"^{name} has no derivative rule in curvature.autodiff: .*(;|use)"):
        transform(f, x)


@pytest.mark.parametrize("name", ["unique_values", "fft.rfft", "linalg.eigvals"])
def test_functions_without_derivative_serve_plain_arrays_and_constants(name):
    x = np.random.default_rng(0).normal(size=(3, 3))
    *extension, function = name.split(".")
    xp = namespace(autodiff.lift(x))
    call = getattr(getattr(xp, extension[0]) if extension else xp, function)
    plain = getattr(getattr(numpy_xp, extension[0]) if extension else numpy_xp, function)(x)
    np.testing.assert_array_equal(call(x), plain)
    lifted = call(autodiff.lift(x))
    assert isinstance(lifted, autodiff.Traced)
    np.testing.assert_array_equal(lifted._value, plain)


def test_named_tuples_of_constants_keep_their_names(lib):
    x = lib.array([1.0, 1.0, 2.0])
    counts = namespace(autodiff.lift(x)).unique_counts(autodiff.lift(x))
    assert [int(n) for n in np.asarray(counts.counts._value)] == [2, 1]


def test_nextafter_moves_with_its_first_argument(lib):
    x, t = lib.normal(3), lib.normal(3, seed=1)
    y, dy = autodiff.jvp(lambda p: namespace(p[0]).nextafter(p[0], p[1]), [x, x + 1.0], [t, t])
    np.testing.assert_array_equal(np.asarray(y), np.nextafter(np.asarray(x), np.inf))
    np.testing.assert_array_equal(np.asarray(dy), np.asarray(t))


def test_linspace_between_values_under_differentiation(lib):
    """a + (b - a) k / 3 has the derivatives 1 - k/3 and k/3."""
    x = lib.array([2.0, 5.0])
    y, push, pull = autodiff.linearize(lambda x: namespace(x).linspace(x[0], x[1], 4), x)
    np.testing.assert_allclose(np.asarray(y), [2.0, 3.0, 4.0, 5.0], rtol=1e-15)
    np.testing.assert_allclose(np.asarray(push(lib.array([1.0, 0.0]))), [1, 2 / 3, 1 / 3, 0], rtol=1e-15)
    np.testing.assert_allclose(np.asarray(pull(y)), [2 + 2 + 4 / 3, 1 + 8 / 3 + 5], rtol=1e-14)
    ends = autodiff.jvp(lambda x: namespace(x).linspace(0.0, x[1], 3, endpoint=False), x, x)
    np.testing.assert_allclose(np.asarray(ends[1]), [0, 5 / 3, 10 / 3], rtol=1e-15)


UNARY = ("abs", "neg", "pos", "invert", "bool", "int", "float", "complex", "index")
BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
)  # fmt: skip
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
PROTOCOLS = ("array_namespace", "dlpack", "getitem", "setitem")
MEMBERS = ("to_device", "dtype", "device", "mT", "ndim", "shape", "size", "T")
ARRAY_OBJECT = [
    *[f"__{name}__" for name in (*UNARY, *BINARY, *COMPARISONS, *PROTOCOLS)],
    *[f"__r{name}__" for name in BINARY],
    *MEMBERS,
]


@pytest.mark.parametrize("name", ARRAY_OBJECT)
def test_a_traced_array_has_every_member_of_the_standard(name):
    assert hasattr(autodiff.Traced, name)
