"""Sums and Frobenius inner products of low rank, and of low rank plus diagonal.

Their products keep neither: they are seldom symmetric.
"""

from __future__ import annotations

from typing import Any

from .algebra import _check_backends, _space, add
from .base import Operator
from .diagonal import Diagonal
from .inner import inner
from .low_rank import LowRank
from .low_rank_forms import joined_cores, orthonormal_form, times_core
from .low_rank_plus_diagonal import LowRankPlusDiagonal

Array = Any
Pair = tuple[Array, Array]


def _parts(operator: LowRank | LowRankPlusDiagonal) -> Pair:
    """(Y, C) of the part of low rank."""
    if isinstance(operator, LowRank):
        return operator.vectors, operator.values
    return operator.factor, operator.core


def _with_diagonal(a: LowRank | LowRankPlusDiagonal, b: Diagonal) -> LowRankPlusDiagonal:
    """diag(b) goes to the diagonal."""
    _check_backends(a, b)
    entries = b.entries if isinstance(a, LowRank) else a.entries + b.entries
    return LowRankPlusDiagonal(entries, *_parts(a), backend=a.backend, space=_space(a, b))


def _side_by_side(a: Any, b: Any, entries: Array) -> LowRankPlusDiagonal:
    """The columns side by side, as few of them as the sum needs."""
    _check_backends(a, b)
    (left, left_core), (right, right_core) = _parts(a), _parts(b)
    core = joined_cores(a.backend, left_core, right_core)
    vectors, values = orthonormal_form(a.backend, a.xp.concat([left, right], axis=1), core)
    return LowRankPlusDiagonal(entries, vectors, values, backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_low_rank(a: LowRank, b: LowRank) -> LowRank:
    """U_a Λ_a U_aᵀ + U_b Λ_b U_bᵀ: of rank k_a + k_b at most, in orthonormal columns again."""
    _check_backends(a, b)
    factor, values = a.xp.concat([a.vectors, b.vectors], axis=1), a.xp.concat([a.values, b.values])
    return LowRank.of_product(factor, values, backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_sums(a: LowRankPlusDiagonal, b: LowRankPlusDiagonal) -> LowRankPlusDiagonal:
    return _side_by_side(a, b, a.entries + b.entries)


@add.dispatch
def _add_low_rank_to_sum(a: LowRankPlusDiagonal, b: LowRank) -> LowRankPlusDiagonal:
    return _side_by_side(a, b, a.entries)


@add.dispatch
def _add_sum_to_low_rank(a: LowRank, b: LowRankPlusDiagonal) -> LowRankPlusDiagonal:
    return _side_by_side(a, b, b.entries)


@add.dispatch
def _add_diagonal_to_low_rank(a: LowRank, b: Diagonal) -> LowRankPlusDiagonal:
    return _with_diagonal(a, b)


@add.dispatch
def _add_low_rank_to_diagonal(a: Diagonal, b: LowRank) -> LowRankPlusDiagonal:
    return _with_diagonal(b, a)


@add.dispatch
def _add_diagonal_to_sum(a: LowRankPlusDiagonal, b: Diagonal) -> LowRankPlusDiagonal:
    return _with_diagonal(a, b)


@add.dispatch
def _add_sum_to_diagonal(a: Diagonal, b: LowRankPlusDiagonal) -> LowRankPlusDiagonal:
    return _with_diagonal(b, a)


def _inner(a: LowRank | LowRankPlusDiagonal, b: Operator) -> Array:
    """<diag(d) + Y C Yᵀ, B> = Σ_i d_i B_ii + tr C Yᵀ B Y: products of B with k columns."""
    xp, (factor, core) = a.xp, _parts(a)
    total = xp.sum(factor * xp.matrix_transpose(times_core(core, xp.matrix_transpose(b._matmat(factor)))))
    return total if isinstance(a, LowRank) else total + xp.sum(a.entries * b.diagonal())


@inner.dispatch
def _low_rank_any(a: LowRank, b: Operator) -> Array:
    return _inner(a, b)


@inner.dispatch
def _any_low_rank(a: Operator, b: LowRank) -> Array:
    return _inner(b, a)


@inner.dispatch
def _low_rank_diagonal(a: LowRank, b: Diagonal) -> Array:
    return _inner(a, b)


@inner.dispatch
def _diagonal_low_rank(a: Diagonal, b: LowRank) -> Array:
    return _inner(b, a)


@inner.dispatch
def _low_ranks(a: LowRank, b: LowRank) -> Array:
    return _inner(a, b)


@inner.dispatch
def _sum_any(a: LowRankPlusDiagonal, b: Operator) -> Array:
    return _inner(a, b)


@inner.dispatch
def _any_sum(a: Operator, b: LowRankPlusDiagonal) -> Array:
    return _inner(b, a)


@inner.dispatch
def _sum_diagonal(a: LowRankPlusDiagonal, b: Diagonal) -> Array:
    return _inner(a, b)


@inner.dispatch
def _diagonal_sum(a: Diagonal, b: LowRankPlusDiagonal) -> Array:
    return _inner(b, a)


@inner.dispatch
def _sums(a: LowRankPlusDiagonal, b: LowRankPlusDiagonal) -> Array:
    return _inner(a, b)


@inner.dispatch
def _low_rank_sum(a: LowRank, b: LowRankPlusDiagonal) -> Array:
    return _inner(a, b)


@inner.dispatch
def _sum_low_rank(a: LowRankPlusDiagonal, b: LowRank) -> Array:
    return _inner(b, a)
