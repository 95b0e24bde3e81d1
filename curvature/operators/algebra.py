"""Sums and products of operators: open generic functions on pairs of structures.

A pair that keeps a structure has a method of its own. Any other pair is kept as a ``Sum`` or a ``Product`` of its operands:
their products stay exact and cheap, the structure is lost, and that is said with a ``DensifiedWarning``. A third party adds
methods for its own operators: ``@curvature.operators.add.dispatch``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import reduce
from typing import Any

from ..backend.values import has_values
from ..errors import DensifiedWarning, MixedBackendError, ShapeError
from ..trees import count
from .base import Operator
from .block_diagonal import BlockDiagonal
from .dense import Dense
from .diagonal import Diagonal
from .kronecker import Kronecker
from .kronecker_eigen import KroneckerEigen
from .kronecker_sum import KroneckerSum
from .open_function import open_function
from .product import Product
from .sum import Sum


def total(operators: Sequence[Operator]) -> Operator:
    """The sum of several operators."""
    return reduce(add, operators)


def _space(a: Operator, b: Operator) -> Any:
    if a.space is not None and b.space is not None and a.space != b.space:
        ours, theirs = (", ".join(operator.space.names) for operator in (a, b) if operator.space is not None)
        raise ShapeError(f"operators of different parameters: {ours} and {theirs}")
    return a.space if a.space is not None else b.space


def _check_backends(a: Operator, b: Operator) -> None:
    if a.backend.name != b.backend.name:
        raise MixedBackendError(f"operators on {a.backend.name!r} and {b.backend.name!r}; move one with .to(backend)")


def _warn_lost(operation: str, a: Operator, b: Operator) -> None:
    """Where both operands have a structure and the result has neither."""
    if {"matrix-free", "sum", "product"} & {a.structure, b.structure}:
        return
    warnings.warn(
        f"the {operation} of {type(a).__name__} and {type(b).__name__} keeps neither structure: products with it stay exact and "
        f"cheap, but solve and what needs eigenvalues are dense or iterative",
        DensifiedWarning,
        stacklevel=5,
    )


@open_function
def add(a: Operator, b: Operator) -> Operator:
    """A + B, keeping the structure where there is one in common."""
    _check_backends(a, b)
    space = _space(a, b)
    if a is b:
        return a.scaled(2.0)
    _warn_lost("sum", a, b)
    return Sum([a, b], space=space)


@add.dispatch
def _add_dense(a: Dense, b: Dense) -> Dense:
    """Entry by entry."""
    _check_backends(a, b)
    symmetric = True if a.symmetric and b.symmetric else None
    return Dense(a.array + b.array, backend=a.backend, space=_space(a, b), symmetric=symmetric)


@add.dispatch
def _add_dense_any(a: Dense, b: Operator) -> Operator:
    """A dense matrix is there already: the sum is one more."""
    _check_backends(a, b)
    if b.matrix_free:
        return _kept_apart(a, b)
    symmetric = True if a.symmetric and b.symmetric else None
    return Dense(a.array + b.to_dense(), backend=a.backend, space=_space(a, b), symmetric=symmetric)


@add.dispatch
def _add_any_dense(a: Operator, b: Dense) -> Operator:
    return add(b, a)  # type: ignore[no-any-return]


@add.dispatch
def _add_diagonal(a: Diagonal, b: Diagonal) -> Diagonal:
    """diag(a) + diag(b) = diag(a + b)."""
    _check_backends(a, b)
    return Diagonal(a.entries + b.entries, backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_kronecker(a: Kronecker, b: Kronecker) -> Operator:
    """A ⊗ B + C ⊗ D as a sum of Kronecker products where the sizes agree."""
    return add(KroneckerSum([a], space=a.space), KroneckerSum([b], space=b.space))  # type: ignore[no-any-return]


@add.dispatch
def _add_kronecker_sum(a: KroneckerSum, b: KroneckerSum) -> Operator:
    """One sum of all the terms where the sizes agree."""
    _check_backends(a, b)
    if a.sizes != b.sizes:
        return _kept_apart(a, b)
    return KroneckerSum([*a.terms, *b.terms], symmetric=a.symmetric and b.symmetric, space=_space(a, b))


@add.dispatch
def _add_sum_kronecker(a: KroneckerSum, b: Kronecker) -> Operator:
    return add(a, KroneckerSum([b], space=b.space))  # type: ignore[no-any-return]


@add.dispatch
def _add_kronecker_to_sum(a: Kronecker, b: KroneckerSum) -> Operator:
    return add(KroneckerSum([a], space=a.space), b)  # type: ignore[no-any-return]


@add.dispatch
def _add_kronecker_eigen(a: KroneckerEigen, b: KroneckerEigen) -> Operator:
    """Q S Qᵀ + Q S' Qᵀ = Q (S + S') Qᵀ where the bases are the same arrays."""
    _check_backends(a, b)
    if len(a.bases) == len(b.bases) and all(p is q for p, q in zip(a.bases, b.bases, strict=True)) and a.sizes == b.sizes:
        complement = a.complement + b.complement
        return KroneckerEigen(a.bases, a.values + b.values, complement=complement, backend=a.backend, space=_space(a, b))
    return _kept_apart(a, b)


@add.dispatch
def _add_kronecker_diagonal(a: Kronecker, b: Diagonal) -> Operator:
    """A ⊗ B + c I is diagonal in the eigenbasis of the factors."""
    _check_backends(a, b)
    if not (a.symmetric and _is_constant(b)):
        return _kept_apart(a, b)
    basis = a.eigenbasis()
    return KroneckerEigen(basis.bases, basis.values + b.entries[0], backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_diagonal_kronecker(a: Diagonal, b: Kronecker) -> Operator:
    return add(b, a) if _is_constant(a) and b.symmetric else _kept_apart(a, b)


@add.dispatch
def _add_eigen_diagonal(a: KroneckerEigen, b: Diagonal) -> Operator:
    """Q S Qᵀ + c I = Q (S + c) Qᵀ + c (I - Q Qᵀ)."""
    _check_backends(a, b)
    if not _is_constant(b):
        return _kept_apart(a, b)
    constant = b.entries[0]
    return KroneckerEigen(a.bases, a.values + constant, complement=a.complement + constant, backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_diagonal_eigen(a: Diagonal, b: KroneckerEigen) -> Operator:
    return add(b, a) if _is_constant(a) else _kept_apart(a, b)


@add.dispatch
def _add_block_diagonal(a: BlockDiagonal, b: BlockDiagonal) -> Operator:
    """Block by block where the partitions agree."""
    _check_backends(a, b)
    if a.partition != b.partition:
        return _kept_apart(a, b)
    blocks = {name: add(block, b.blocks[name]) for name, block in a.blocks.items()}
    return BlockDiagonal(blocks, partition=None if a.space is None else a.partition)


@add.dispatch
def _add_blocks_diagonal(a: BlockDiagonal, b: Diagonal) -> Operator:
    """Each block gets its part of the diagonal."""
    _check_backends(a, b)
    _space(a, b)
    parts = a.partition.gather(a.xp, b.entries[:, None])
    blocks = {
        name: add(block, Diagonal(part[:, 0], backend=a.backend))
        for (name, block), part in zip(a.blocks.items(), parts, strict=True)
    }
    return BlockDiagonal(blocks, partition=None if a.space is None else a.partition)


@add.dispatch
def _add_diagonal_blocks(a: Diagonal, b: BlockDiagonal) -> Operator:
    return add(b, a)  # type: ignore[no-any-return]


def _kept_apart(a: Operator, b: Operator) -> Operator:
    """The sum of a pair that has a structure in common for other values only."""
    result: Operator = add.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
    return result


def _is_constant(operator: Diagonal) -> bool:
    xp, entries = operator.xp, operator.entries
    return count(entries) > 0 and has_values(entries) and bool(xp.all(entries == entries[0]))


@open_function
def compose(a: Operator, b: Operator) -> Operator:
    """A B, keeping the structure where there is one in common. The product of symmetric operators is seldom symmetric."""
    _check_backends(a, b)
    space = _space(a, b)
    _warn_lost("product", a, b)
    return Product(a, b, space=space)


@compose.dispatch
def _compose_dense(a: Dense, b: Dense) -> Dense:
    """The product of the matrices."""
    _check_backends(a, b)
    return Dense(a.array @ b.array, backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_any_dense(a: Operator, b: Dense) -> Operator:
    """The columns of the matrix, each multiplied."""
    _check_backends(a, b)
    if a.matrix_free:
        return _kept_apart_product(a, b)
    return Dense(a._matmat(b.array), backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_dense_any(a: Dense, b: Operator) -> Operator:
    """The rows of the matrix, each multiplied."""
    _check_backends(a, b)
    if b.matrix_free:
        return _kept_apart_product(a, b)
    xp = a.xp
    rows = b.T._matmat(xp.matrix_transpose(a.array))
    return Dense(xp.matrix_transpose(rows), backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_diagonal(a: Diagonal, b: Diagonal) -> Diagonal:
    """diag(a) diag(b) = diag(a b)."""
    _check_backends(a, b)
    return Diagonal(a.entries * b.entries, backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_kronecker(a: Kronecker, b: Kronecker) -> Operator:
    """(A ⊗ B)(C ⊗ D) = AC ⊗ BD where the sizes agree."""
    _check_backends(a, b)
    if a.sizes != b.sizes:
        return _kept_apart_product(a, b)
    products = [Dense(f.array @ g.array, backend=f.backend) for f, g in zip(a.factors, b.factors, strict=True)]
    return Kronecker(products, space=_space(a, b))


@compose.dispatch
def _compose_kronecker_eigen(a: KroneckerEigen, b: KroneckerEigen) -> Operator:
    """Q S Qᵀ Q S' Qᵀ = Q S S' Qᵀ where the bases are the same arrays."""
    _check_backends(a, b)
    if len(a.bases) == len(b.bases) and all(p is q for p, q in zip(a.bases, b.bases, strict=True)) and a.sizes == b.sizes:
        complement = a.complement * b.complement
        return KroneckerEigen(a.bases, a.values * b.values, complement=complement, backend=a.backend, space=_space(a, b))
    return _kept_apart_product(a, b)


@compose.dispatch
def _compose_block_diagonal(a: BlockDiagonal, b: BlockDiagonal) -> Operator:
    """Block by block where the partitions agree."""
    _check_backends(a, b)
    if a.partition != b.partition:
        return _kept_apart_product(a, b)
    blocks = {name: compose(block, b.blocks[name]) for name, block in a.blocks.items()}
    return BlockDiagonal(blocks, partition=None if a.space is None else a.partition)


def _kept_apart_product(a: Operator, b: Operator) -> Operator:
    result: Operator = compose.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
    return result
