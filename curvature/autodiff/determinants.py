"""Determinants: the derivative of log |det A| is tr(A⁻¹ dA), with an inverse that is computed when first needed."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from .factorisations import Shared, part, transpose
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value of a determinant."""

    sign: Array
    logabsdet: Array


def _rule(logarithm: bool) -> Any:
    def rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
        a = args[0]

        @functools.cache
        def rate() -> Array:
            return transpose(op, op.inv(a))

        def push(t: Array) -> Array:
            total = op.sum(op.multiply(t, rate()), axis=(len(t.shape) - 2, len(t.shape) - 1), keepdims=False)
            return total if logarithm else op.multiply(total, y)

        def pull(g: Array) -> Array:
            g = g if logarithm else op.multiply(g, y)
            return op.multiply(op.reshape(g, shape=(*g.shape, 1, 1)), rate())

        return push, pull

    return rule


define("det", lambda xp: lambda a: xp.linalg.det(a), _rule(False))
define("sign_of_determinant", part(0), None)
define("logabsdet", part(1), _rule(True))

# The functions of the standard, from the primitives -----------------------------------------------


def det(op: Any, x: Array, /) -> Array:
    """The determinant. Its derivative is det(x) x⁻ᵀ, which needs an invertible matrix."""
    return op.det(x)


def slogdet(op: Any, x: Array, /) -> SlogdetResult:
    """Sign (locally constant) and logarithm of the absolute value of the determinant."""
    shared = Shared(op.xp.linalg.slogdet)
    return SlogdetResult(op.sign_of_determinant(x, shared=shared), op.logabsdet(x, shared=shared))


FUNCTIONS = {f.__name__: f for f in (det, slogdet)}
