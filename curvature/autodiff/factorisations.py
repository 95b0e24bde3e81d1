"""What the rules of matrix functions share: symmetry, the transpose, results that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any


class Shared:
    """The parts of one factorisation of one plain array, computed when the first of them is needed.

    A factorisation is as many primitives as it has parts, and their rules need each other's: the primitives are given
    this (as a parameter) and the matrix is factorised once, whatever is derived from it.
    """

    __slots__ = ("_compute", "_parts")

    def __init__(self, compute: Callable[[Array], tuple[Array, ...]]) -> None:
        self._compute = compute
        self._parts: tuple[Array, ...] | None = None

    def part(self, x: Array, i: int) -> Array:
        """The i-th part."""
        if self._parts is None:
            self._parts = tuple(self._compute(x))
        return self._parts[i]


def part(i: int) -> Callable[[Any], Callable[..., Array]]:
    """The forward function of the primitive that is the i-th part."""
    return lambda xp: lambda x, *, shared: shared.part(x, i)


def transpose(op: Any, x: Array) -> Array:
    """The last two axes exchanged."""
    n = len(x.shape)
    return op.permute_dims(x, axes=(*range(n - 2), n - 1, n - 2))


def symmetrised(op: Any, x: Array) -> Array:
    """(x + xᵀ) / 2."""
    return op.multiply(op.add(x, transpose(op, x)), 0.5)


def as_row(op: Any, x: Array) -> Array:
    """Vectors (…, k) as matrices of one row, which scale columns."""
    return op.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))
