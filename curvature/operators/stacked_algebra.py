"""Sums, products and inner products that stay stacks of blocks."""

from __future__ import annotations

from typing import Any

from .algebra import _check_backends, _space, add, compose
from .base import Operator
from .diagonal import Diagonal
from .inner import by_columns, inner
from .stacked_blocks import StackedBlocks

Array = Any


def _aligned(a: StackedBlocks, b: StackedBlocks) -> bool:
    return a.rows == b.rows and tuple(a.array.shape) == tuple(b.array.shape)


def _entries(diagonal: Diagonal, stack: StackedBlocks) -> Array:
    """Entries of a diagonal as (B, m), in the layout of a stack."""
    return stack.gather(diagonal.entries[:, None])[:, :, 0]


def _like(stack: StackedBlocks, other: Operator, array: Array, symmetric: bool | None) -> StackedBlocks:
    _check_backends(stack, other)
    space = _space(stack, other)
    return StackedBlocks(array, rows=stack.rows, backend=stack.backend, space=space, symmetric=symmetric)


def _with_diagonal(stack: StackedBlocks, diagonal: Diagonal) -> StackedBlocks:
    """A diagonal goes into the diagonals of the blocks."""
    spread = _entries(diagonal, stack)[:, :, None] * stack._identity(stack.size)[None, :, :]
    return _like(stack, diagonal, stack.array + spread, stack.symmetric)


@add.dispatch
def _add(a: StackedBlocks, b: StackedBlocks) -> Operator:
    """Block by block where the layouts agree."""
    if _aligned(a, b):
        return _like(a, b, a.array + b.array, True if a.symmetric and b.symmetric else None)
    total: Operator = add.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
    return total


@add.dispatch
def _add_diagonal(a: StackedBlocks, b: Diagonal) -> Operator:
    return _with_diagonal(a, b)


@add.dispatch
def _add_to_diagonal(a: Diagonal, b: StackedBlocks) -> Operator:
    return _with_diagonal(b, a)


@compose.dispatch
def _compose(a: StackedBlocks, b: StackedBlocks) -> Operator:
    """Block by block where the layouts agree."""
    if _aligned(a, b):
        return _like(a, b, a.array @ b.array, None)
    product: Operator = compose.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
    return product


@compose.dispatch
def _compose_with_diagonal(a: StackedBlocks, b: Diagonal) -> Operator:
    """A diagonal scales the columns of the blocks."""
    return _like(a, b, a.array * _entries(b, a)[:, None, :], None)


@compose.dispatch
def _compose_diagonal(a: Diagonal, b: StackedBlocks) -> Operator:
    """A diagonal scales the rows of the blocks."""
    return _like(b, a, _entries(a, b)[:, :, None] * b.array, None)


@inner.dispatch
def _inner(a: StackedBlocks, b: StackedBlocks) -> Array:
    """Block by block where the layouts agree."""
    return a.xp.sum(a.array * b.array) if _aligned(a, b) else by_columns(a, b)
