"""Factorisations with a triangular factor: Cholesky and QR.

I. Murray, Differentiation of the Cholesky decomposition (2016); S. Walter and L. Lehmann, Algorithmic differentiation
of linear algebra functions with application in optimum experimental design (2010).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from ..errors import DifferentiationError
from .factorisations import Shared, part, symmetrised, transpose
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangular matrix."""

    Q: Array
    R: Array


def _cholesky_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    """dL = L Φ(L⁻¹ dA L⁻ᵀ), where Φ is the lower triangle with half the diagonal."""

    @functools.cache
    def inverse() -> Array:
        return op.inv(y)

    def half(x: Array) -> Array:
        return op.multiply(op.add(op.tril(x, k=0), op.tril(x, k=-1)), 0.5)

    def push(t: Array) -> Array:
        inner = op.matmul(inverse(), op.matmul(symmetrised(op, t), transpose(op, inverse())))
        return op.matmul(y, half(inner))

    def pull(g: Array) -> Array:
        inner = half(op.matmul(transpose(op, y), g))
        return symmetrised(op, op.matmul(transpose(op, inverse()), op.matmul(inner, inverse())))

    return push, pull


class _QR:
    """With C = Qᵀ dA R⁻¹ and Ω = tril(C, -1) - tril(C, -1)ᵀ: dR = (C - Ω) R and dQ = dA R⁻¹ - Q (C - Ω)."""

    def __init__(self, op: Any, q: Array, r: Array) -> None:
        self.op, self.q, self.r = op, q, r

    @functools.cached_property
    def inverse(self) -> Array:
        return self.op.inv(self.r)

    def upper(self, t: Array) -> tuple[Array, Array]:
        """dA R⁻¹ and C - Ω."""
        op = self.op
        x = op.matmul(t, self.inverse)
        c = op.matmul(transpose(op, self.q), x)
        lower = op.tril(c, k=-1)
        return x, op.add(op.subtract(c, lower), transpose(op, lower))

    def push_q(self, t: Array) -> Array:
        x, upper = self.upper(t)
        return self.op.subtract(x, self.op.matmul(self.q, upper))

    def push_r(self, t: Array) -> Array:
        return self.op.matmul(self.upper(t)[1], self.r)

    def skew(self, x: Array) -> Array:
        """tril(x - xᵀ, -1): the transpose of Ω."""
        return self.op.tril(self.op.subtract(x, transpose(self.op, x)), k=-1)

    def pull_q(self, g: Array) -> Array:
        op = self.op
        k = op.matmul(transpose(op, self.q), g)
        inner = op.add(g, op.matmul(self.q, op.subtract(self.skew(k), k)))
        return op.matmul(inner, transpose(op, self.inverse))

    def pull_r(self, g: Array) -> Array:
        op = self.op
        b = op.matmul(g, transpose(op, self.r))
        return op.matmul(self.q, op.matmul(op.subtract(b, self.skew(b)), transpose(op, self.inverse)))


def _q_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    qr = _QR(op, y, op.qr_r(args[0], **params))
    return qr.push_q, qr.pull_q


def _r_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    qr = _QR(op, op.qr_q(args[0], **params), y)
    return qr.push_r, qr.pull_r


define("cholesky", lambda xp: lambda a: xp.linalg.cholesky(a), _cholesky_rule)
define("qr_q", part(0), _q_rule)
define("qr_r", part(1), _r_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def cholesky(op: Any, x: Array, /, *, upper: bool = False) -> Array:
    """The Cholesky factor, as a function of symmetric matrices: the cotangent is symmetric."""
    factor = op.cholesky(x)
    return transpose(op, factor) if upper else factor


def qr(op: Any, x: Array, /, *, mode: str = "reduced") -> QRResult:
    """Q and R with x = Q R, for matrices whose first columns (as many as there are rows) are independent.

    The signs of the diagonal of R are the library's choice, and locally constant.

    Raises:
        DifferentiationError: for the complete Q of a tall matrix: any basis of the complement would do, so that it is
            no function of the matrix.
    """
    m, n = x.shape[-2], x.shape[-1]
    if mode not in ("reduced", "complete"):
        raise ValueError(f"linalg.qr has the modes 'reduced' and 'complete', not {mode!r}")
    if mode == "complete" and m > n:
        raise DifferentiationError(
            f"linalg.qr(mode='complete') of shape {tuple(x.shape)}: the last {m - n} columns of Q are an arbitrary basis and "
            "have no derivative; use mode='reduced'"
        )
    shared = Shared(lambda a: op.xp.linalg.qr(a, mode="reduced"))
    if m >= n:
        return QRResult(op.qr_q(x, shared=shared), op.qr_r(x, shared=shared))
    square, rest = x[..., :m], x[..., m:]
    q, r = op.qr_q(square, shared=shared), op.qr_r(square, shared=shared)
    return QRResult(q, op.ns.concat([r, op.matmul(transpose(op, q), rest)], axis=-1))


FUNCTIONS = {f.__name__: f for f in (cholesky, qr)}
