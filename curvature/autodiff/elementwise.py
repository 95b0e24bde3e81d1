"""Elementwise functions: the derivative is multiplication by the partial derivative."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import array_api_compat

from .broadcasting import broadcast, unbroadcast
from .primitive import Forward, Maps, define, is_number

Array = Any
Partial = Callable[..., Array]


class Scaling:
    """Multiplication by a partial derivative that is computed when first needed and then kept."""

    __slots__ = ("_args", "_dtype", "_op", "_partial", "_shape_in", "_shape_out", "_value")

    def __init__(self, op: Any, partial: Partial, i: int, y: Array, args: list[Any]) -> None:
        self._op = op
        self._partial = partial
        self._args: tuple[Any, ...] | None = (y, *args)
        self._shape_in = args[i].shape
        self._shape_out = y.shape
        self._dtype = args[i].dtype

    def _factor(self) -> Any:
        if self._args is not None:
            self._value = self._partial(self._op, *self._args)
            self._args = None
        return self._value

    def push(self, t: Array) -> Array:
        """Tangent of the result."""
        return broadcast(self._op, self._op.multiply(t, self._factor()), self._shape_out)

    def pull(self, g: Array) -> Array:
        """Cotangent of the argument, in its dtype."""
        g = unbroadcast(self._op, self._op.multiply(g, self._factor()), self._shape_in)
        return g if g.dtype == self._dtype else self._op.astype(g, dtype=self._dtype)


def _scaling_rule(*partials: Partial) -> Callable[..., Maps]:
    def rule(op: Any, i: int, y: Array, args: list[Any], params: dict[str, Any]) -> Maps:
        scaling = Scaling(op, partials[i], i, y, args)
        return scaling.push, scaling.pull

    return rule


def _sum_rule(*maps: str | None) -> Callable[..., Maps]:
    """Rule of a sum or difference: identity (None) or a named linear function, with broadcasting."""

    def rule(op: Any, i: int, y: Array, args: list[Any], params: dict[str, Any]) -> Maps:
        shape_in, shape_out, dtype = args[i].shape, y.shape, args[i].dtype
        name = maps[i]
        apply = None if name is None else getattr(op, name)

        def push(t: Array) -> Array:
            return broadcast(op, apply(t) if apply else t, shape_out)

        def pull(g: Array) -> Array:
            g = unbroadcast(op, g, shape_in)
            g = g if g.dtype == dtype else op.astype(g, dtype=dtype)
            return apply(g) if apply else g

        return push, pull

    return rule


def _divide_rule(op: Any, i: int, y: Array, args: list[Any], params: dict[str, Any]) -> Maps:
    if i == 1:
        return _divide_denominator(op, i, y, args, params)
    b, shape_in, shape_out, dtype = args[1], args[0].shape, y.shape, args[0].dtype

    def push(t: Array) -> Array:
        return broadcast(op, op.divide(t, b), shape_out)

    def pull(g: Array) -> Array:
        g = unbroadcast(op, op.divide(g, b), shape_in)
        return g if g.dtype == dtype else op.astype(g, dtype=dtype)

    return push, pull


_divide_denominator = _scaling_rule(lambda op, y, a, b: op.divide(1.0, b), lambda op, y, a, b: op.negative(op.divide(y, b)))


def _indicator(op: Any, condition: Array, like: Array) -> Array:
    return op.astype(condition, dtype=like.dtype)


def _pow_base(op: Any, y: Array, a: Array, b: Any) -> Array:
    if is_number(b):
        if b == 2:
            return op.multiply(a, 2.0)
        return op.multiply(op.pow(a, b - 1), float(b)) if b != 0 else op.multiply(a, 0.0)
    zero = op.equal(b, 0)  # 0 · a⁻¹ is 0, also at a = 0
    return op.multiply(b, op.pow(a, op.where(zero, 1.0, op.subtract(b, 1.0))))


def _pow_exponent(op: Any, y: Array, a: Any, b: Array) -> Array:
    if is_number(a):
        return op.multiply(y, math.log(a) if a > 0 else (0.0 if a == 0 else math.nan))
    return op.multiply(y, op.log(op.where(op.equal(a, 0), 1.0, a)))


def _selected(compare: str) -> tuple[Partial, Partial]:
    """Partials of maximum and minimum: at a tie arrays share equally, and a number takes all."""

    def first(op: Any, y: Array, a: Array, b: Any) -> Array:
        wins = _indicator(op, getattr(op, compare)(a, b), a)
        return wins if is_number(b) else op.add(wins, op.multiply(_indicator(op, op.equal(a, b), a), 0.5))

    def second(op: Any, y: Array, a: Any, b: Array) -> Array:
        return first(op, y, b, a)

    return first, second


def _clip_partial(op: Any, y: Array, x: Array, low: float | None, high: float | None) -> Array:
    inside = op.equal(x, x)
    if low is not None:
        inside = op.bitwise_and(inside, op.greater_equal(x, low))
    if high is not None:
        inside = op.bitwise_and(inside, op.less_equal(x, high))
    return _indicator(op, inside, x)


def _where_rule(op: Any, i: int, y: Array, args: list[Any], params: dict[str, Any]) -> Maps:
    # The branch not taken gets an exact zero, whatever it holds (infinities, NaN).
    condition, shape_in, shape_out, dtype = args[0], args[i].shape, y.shape, args[i].dtype

    def choose(t: Array) -> Array:
        return op.where(condition, t, 0.0) if i == 1 else op.where(condition, 0.0, t)

    def push(t: Array) -> Array:
        return broadcast(op, choose(t), shape_out)

    def pull(g: Array) -> Array:
        g = unbroadcast(op, choose(g), shape_in)
        return g if g.dtype == dtype else op.astype(g, dtype=dtype)

    return push, pull


def _astype_rule(op: Any, i: int, y: Array, args: list[Any], params: dict[str, Any]) -> Maps:
    before, after = args[0].dtype, params["dtype"]
    return (lambda t: op.astype(t, dtype=after)), (lambda g: op.astype(g, dtype=before))


def _named(name: str) -> Callable[[Any], Forward]:
    return lambda xp: getattr(xp, name)


def _binary_named(name: str) -> Callable[[Any], Forward]:
    """A binary function of the namespace that also takes Python numbers, which not every library allows."""

    def forward(xp: Any) -> Forward:
        function = getattr(xp, name)

        def apply(a: Any, b: Any) -> Any:
            if is_number(a):
                a = xp.asarray(a, dtype=b.dtype, device=array_api_compat.device(b))
            elif is_number(b):
                b = xp.asarray(b, dtype=a.dtype, device=array_api_compat.device(a))
            return function(a, b)

        return apply

    return forward


def _operator(function: Callable[..., Any]) -> Callable[[Any], Forward]:
    return lambda xp: function


_UNARY: dict[str, Partial] = {
    "exp": lambda op, y, x: y,
    "expm1": lambda op, y, x: op.add(y, 1.0),
    "log": lambda op, y, x: op.divide(1.0, x),
    "log1p": lambda op, y, x: op.divide(1.0, op.add(x, 1.0)),
    "log2": lambda op, y, x: op.divide(1.0 / math.log(2.0), x),
    "log10": lambda op, y, x: op.divide(1.0 / math.log(10.0), x),
    "sin": lambda op, y, x: op.cos(x),
    "cos": lambda op, y, x: op.negative(op.sin(x)),
    "tan": lambda op, y, x: op.add(op.multiply(y, y), 1.0),
    "asin": lambda op, y, x: op.divide(1.0, op.sqrt(op.subtract(1.0, op.multiply(x, x)))),
    "acos": lambda op, y, x: op.divide(-1.0, op.sqrt(op.subtract(1.0, op.multiply(x, x)))),
    "atan": lambda op, y, x: op.divide(1.0, op.add(op.multiply(x, x), 1.0)),
    "sinh": lambda op, y, x: op.cosh(x),
    "cosh": lambda op, y, x: op.sinh(x),
    "tanh": lambda op, y, x: op.subtract(1.0, op.multiply(y, y)),
    "asinh": lambda op, y, x: op.divide(1.0, op.sqrt(op.add(op.multiply(x, x), 1.0))),
    "acosh": lambda op, y, x: op.divide(1.0, op.multiply(op.sqrt(op.subtract(x, 1.0)), op.sqrt(op.add(x, 1.0)))),
    "atanh": lambda op, y, x: op.divide(1.0, op.multiply(op.subtract(1.0, x), op.add(x, 1.0))),
    "sqrt": lambda op, y, x: op.divide(0.5, y),
    "square": lambda op, y, x: op.multiply(x, 2.0),
    "reciprocal": lambda op, y, x: op.negative(op.multiply(y, y)),
    "abs": lambda op, y, x: op.sign(x),
}
for _name, _partial in _UNARY.items():
    define(_name, _named(_name), _scaling_rule(_partial))

define("add", _operator(operator.add), _sum_rule(None, None))
define("subtract", _operator(operator.sub), _sum_rule(None, "negative"))
define("negative", _operator(operator.neg), _sum_rule("negative"))
define("multiply", _operator(operator.mul), _scaling_rule(lambda op, y, a, b: b, lambda op, y, a, b: a))
define("divide", _operator(operator.truediv), _divide_rule)
define("pow", _operator(operator.pow), _scaling_rule(_pow_base, _pow_exponent))
define(
    "remainder",
    _operator(operator.mod),
    _scaling_rule(lambda op, y, a, b: 1.0, lambda op, y, a, b: op.negative(op.floor_divide(a, b))),
)
define("maximum", _binary_named("maximum"), _scaling_rule(*_selected("greater")))
define("minimum", _binary_named("minimum"), _scaling_rule(*_selected("less")))
define(
    "logaddexp",
    _binary_named("logaddexp"),
    _scaling_rule(lambda op, y, a, b: op.exp(op.subtract(a, y)), lambda op, y, a, b: op.exp(op.subtract(b, y))),
)


def _share_of_length(op: Any, y: Array, part: Any) -> Array:
    """part / y, zero at the origin, where there is no derivative."""
    return op.divide(part, op.where(op.equal(y, 0), 1.0, y))


define(
    "hypot",
    _binary_named("hypot"),
    _scaling_rule(lambda op, y, a, b: _share_of_length(op, y, a), lambda op, y, a, b: _share_of_length(op, y, b)),
)
# The next number is the number itself but for rounding; the direction only counts by its side.
define(
    "nextafter",
    _binary_named("nextafter"),
    _scaling_rule(lambda op, y, a, b: 1.0, lambda op, y, a, b: 0.0),
)
define("conj", lambda xp: lambda x: x, _sum_rule(None))  # of real arrays, the only ones under differentiation


def _atan2_partial(sign: float) -> Partial:
    def partial(op: Any, y: Array, a: Any, b: Any) -> Array:
        other = b if sign > 0 else op.negative(a) if not is_number(a) else -a
        return op.divide(other, op.add(op.multiply(a, a), op.multiply(b, b)))

    return partial


define("atan2", _binary_named("atan2"), _scaling_rule(_atan2_partial(1.0), _atan2_partial(-1.0)))
define(
    "copysign",
    _binary_named("copysign"),
    _scaling_rule(lambda op, y, a, b: op.multiply(op.sign(a), op.sign(y)), lambda op, y, a, b: 0.0),
)
define("clip", lambda xp: lambda x, low, high: xp.clip(x, low, high), _scaling_rule(_clip_partial))
define("where", _named("where"), _where_rule)
define("astype", lambda xp: lambda x, *, dtype: xp.astype(x, dtype), _astype_rule)

_OPERATORS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "and_": "bitwise_and",
    "or_": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
    "invert": "bitwise_invert",
    "floordiv": "floor_divide",
}
_CONSTANT = (
    "sign", "floor", "ceil", "round", "trunc", "isnan", "isfinite", "isinf", "signbit",
    "logical_and", "logical_or", "logical_not", "logical_xor",
)  # fmt: skip
for _symbol, _name in _OPERATORS.items():
    define(_name, _operator(getattr(operator, _symbol)), None)
for _name in _CONSTANT:
    define(_name, _named(_name), None)

_DIFFERENTIABLE = (
    *_UNARY, "add", "subtract", "negative", "multiply", "divide", "pow", "remainder", "maximum", "minimum", "logaddexp",
    "hypot", "atan2", "copysign", "nextafter", "conj",
)  # fmt: skip


def _function(name: str) -> Callable[..., Array]:
    def function(op: Any, /, *args: Any) -> Array:
        # No keywords: with an array to write into (out=) the derivative would be lost.
        return getattr(op, name)(*args)

    return function


def positive(op: Any, x: Array, /) -> Array:
    """``x`` itself."""
    return x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "positive": positive,
    **{name: _function(name) for name in (*_DIFFERENTIABLE, *_OPERATORS.values(), *_CONSTANT)},
}
