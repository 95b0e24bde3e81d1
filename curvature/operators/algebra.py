"""Sums and products of operators: open generic functions on pairs of structures.

A pair that keeps a structure has a method of its own; any other pair loses it, and says so (``DensifiedWarning``),
unless an operand is matrix-free: then the result is matrix-free too. A third party adds methods for its own operators:
``@curvature.operators.add.dispatch``.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import DensifiedWarning, MixedBackendError, ShapeError
from .base import Operator
from .block_diagonal import BlockDiagonal
from .dense import Dense
from .diagonal import Diagonal
from .kronecker import Kronecker
from .matrix_free import MatrixFree
from .open_function import open_function


def _space(a: Operator, b: Operator) -> Any:
    if a.space is not None and b.space is not None and a.space != b.space:
        ours, theirs = (", ".join(operator.space.names) for operator in (a, b) if operator.space is not None)
        raise ShapeError(f"operators of different parameters: {ours} and {theirs}")
    return a.space if a.space is not None else b.space


def _check_backends(a: Operator, b: Operator) -> None:
    if a.backend.name != b.backend.name:
        raise MixedBackendError(f"operators on {a.backend.name!r} and {b.backend.name!r}; move one with .to(backend)")


def _warn_densified(operation: str, a: Operator, b: Operator) -> None:
    if not (isinstance(a, Dense) or isinstance(b, Dense)):
        warnings.warn(
            f"the {operation} of {type(a).__name__} and {type(b).__name__} keeps neither structure and is dense",
            DensifiedWarning,
            stacklevel=5,
        )


@open_function
def add(a: Operator, b: Operator) -> Operator:
    """A + B, keeping the structure where there is one in common."""
    _check_backends(a, b)
    if _lazy(a) or _lazy(b):
        return MatrixFree(
            lambda v: a._matmat(v) + b._matmat(v),
            a.shape[0],
            dtype=a.dtype,
            backend=a.backend,
            space=_space(a, b),
        )
    _warn_densified("sum", a, b)
    return Dense(
        _dense(a) + _dense(b), backend=a.backend, space=_space(a, b), symmetric=True if a.symmetric and b.symmetric else None
    )


@add.dispatch
def _add_diagonal(a: Diagonal, b: Diagonal) -> Diagonal:
    """diag(a) + diag(b) = diag(a + b)."""
    _check_backends(a, b)
    return Diagonal(a.entries + b.entries, backend=a.backend, space=_space(a, b))


@add.dispatch
def _add_block_diagonal(a: BlockDiagonal, b: BlockDiagonal) -> Operator:
    """Block by block where the partitions agree."""
    _check_backends(a, b)
    if a.partition == b.partition:
        blocks = {name: add(block, b.blocks[name]) for name, block in a.blocks.items()}
        return BlockDiagonal(blocks, partition=None if a.space is None else a.partition)
    _warn_densified("sum", a, b)
    return Dense(_dense(a) + _dense(b), backend=a.backend, space=_space(a, b))


@open_function
def compose(a: Operator, b: Operator) -> Operator:
    """A B, keeping the structure where there is one in common. The product of symmetric operators is seldom symmetric."""
    _check_backends(a, b)
    if _lazy(a) or _lazy(b):
        return _Product(a, b)
    _warn_densified("product", a, b)
    return Dense(a._matmat(_dense(b)), backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_diagonal(a: Diagonal, b: Diagonal) -> Diagonal:
    """diag(a) diag(b) = diag(a b)."""
    _check_backends(a, b)
    return Diagonal(a.entries * b.entries, backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_kronecker(a: Kronecker, b: Kronecker) -> Operator:
    """(A ⊗ B)(C ⊗ D) = AC ⊗ BD where the sizes agree."""
    _check_backends(a, b)
    if a.sizes == b.sizes:
        products = [Dense(f.array @ g.array, backend=f.backend) for f, g in zip(a.factors, b.factors, strict=True)]
        return Kronecker(products, space=_space(a, b))
    _warn_densified("product", a, b)
    return Dense(a._matmat(_dense(b)), backend=a.backend, space=_space(a, b))


@compose.dispatch
def _compose_block_diagonal(a: BlockDiagonal, b: BlockDiagonal) -> Operator:
    """Block by block where the partitions agree."""
    _check_backends(a, b)
    if a.partition == b.partition:
        blocks = {name: compose(block, b.blocks[name]) for name, block in a.blocks.items()}
        return BlockDiagonal(blocks, partition=None if a.space is None else a.partition)
    _warn_densified("product", a, b)
    return Dense(a._matmat(_dense(b)), backend=a.backend, space=_space(a, b))


def _lazy(operator: Operator) -> bool:
    return operator.structure == "matrix-free"


def _dense(operator: Operator) -> Any:
    return operator.to_dense()


class _Product(MatrixFree):
    """A B known by its products; not symmetric, so no conjugate gradients."""

    symmetric = False

    def __init__(self, a: Operator, b: Operator) -> None:
        super().__init__(lambda v: a._matmat(b._matmat(v)), a.shape[0], dtype=a.dtype, backend=a.backend, space=_space(a, b))
        self._operands = (a, b)

    @property
    def shape(self) -> tuple[int, int]:
        a, b = self._operands
        return (a.shape[0], b.shape[1])

    def _transpose(self) -> Operator:
        a, b = self._operands
        return _Product(b.T, a.T)

    def _solve(self, v: Any, damping: Any) -> Any:
        return Operator._solve(self, v, damping)

    def scaled(self, factor: Any) -> Operator:
        a, b = self._operands
        return _Product(a.scaled(factor), b)
