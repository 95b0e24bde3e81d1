"""The Frobenius inner product of operators, without forming either where a structure allows it."""

from __future__ import annotations

from typing import Any

from .base import Operator
from .block_diagonal import BlockDiagonal
from .columns import column_chunks
from .dense import Dense
from .kronecker import Kronecker
from .kronecker_eigen import KroneckerEigen, outer
from .open_function import open_function

Array = Any


@open_function
def inner(a: Operator, b: Operator) -> Array:
    """<A, B> = Σ_ij A_ij B_ij = tr(Aᵀ B), a 0-d array; exact.

    Pairs of structures have methods of their own. An operator of any other pair may know its inner product with whatever there
    is (``Operator._inner``); where neither does, the columns of both are taken, a few at a time.
    """
    for one, other in ((a, b), (b, a)):
        known = one._inner(other)
        if known is not None:
            return known
    return by_columns(a, b)


def by_columns(a: Operator, b: Operator) -> Array:
    """The inner product from the columns of both operators."""
    total: Any = 0.0
    for columns in column_chunks(a):
        total = total + a.xp.sum(a._matmat(columns) * b._matmat(columns))
    return total


@inner.dispatch
def _dense(a: Dense, b: Dense) -> Array:
    return a.xp.sum(a.array * b.array)


@inner.dispatch
def _kronecker(a: Kronecker, b: Kronecker) -> Array:
    """<A ⊗ B, C ⊗ D> = <A, C> <B, D> where the sizes agree."""
    if a.sizes != b.sizes:
        return by_columns(a, b)
    total: Any = 1.0
    for f, g in zip(a.factors, b.factors, strict=True):
        total = total * a.xp.sum(f.array * g.array)
    return total


@inner.dispatch
def _eigen_kronecker(a: KroneckerEigen, b: Kronecker) -> Array:
    """<Q S Qᵀ, A ⊗ B> = <S, diag(Q_1ᵀ A Q_1) ⊗ diag(Q_2ᵀ B Q_2)>."""
    if tuple(f.shape[0] for f in b.factors) != a.sizes:
        return by_columns(a, b)
    rotated = outer(a.xp, [_rotated_diagonal(q, f) for q, f in zip(a.bases, b.factors, strict=True)])
    if not a.codimension:
        return a.xp.sum(a.values * rotated)
    return a.xp.sum((a.values - a.complement) * rotated) + a.complement * b.trace()


@inner.dispatch
def _kronecker_eigen(a: Kronecker, b: KroneckerEigen) -> Array:
    return _eigen_kronecker(b, a) if a.symmetric else by_columns(a, b)


def _rotated_diagonal(q: Array | None, factor: Dense) -> Array:
    xp = factor.xp
    return factor.diagonal() if q is None else xp.sum(q * (factor.array @ q), axis=0)


@inner.dispatch
def _blocks(a: BlockDiagonal, b: BlockDiagonal) -> Array:
    if a.partition != b.partition:
        return by_columns(a, b)
    total: Any = 0.0
    for name, block in a.blocks.items():
        total = total + inner(block, b.blocks[name])
    return total
