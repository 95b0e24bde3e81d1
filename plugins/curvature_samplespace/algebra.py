"""Sums and products of operators on the side of the examples, and their files."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.operators import Diagonal, Operator

from .functions import is_at_most, multiplied
from .operator import SampleSpaceOperator
from .rows import compressed, stacked
from .side import RowsSide

Array = Any


@cv.operators.add.dispatch
def _add(a: SampleSpaceOperator, b: SampleSpaceOperator) -> Operator:
    """On one side weights are added; rows of two sides are stacked."""
    if a.side is b.side:
        return a.like(a.shift + b.shift, a.weights + b.weights)
    ours, theirs = _stackable(a), _stackable(b)
    if ours is None or theirs is None or a.backend.name != b.backend.name or a.space != b.space:
        return _kept_apart(a, b)
    parts = [{"rows": side.rows} for side in (ours, theirs)]
    rows = compressed(a.backend, stacked(a.xp, parts, [a.weights**0.5, b.weights**0.5]))["rows"]
    side = RowsSide(rows, a.backend, space=a.space, rcond=ours.rcond)
    return SampleSpaceOperator(side, shift=a.shift + b.shift)


def _stackable(operator: SampleSpaceOperator) -> RowsSide | None:
    """The rows of s·I + c·F with c > 0."""
    if operator.is_plain and not is_at_most(operator.weights, 0.0) and isinstance(operator.side, RowsSide):
        return operator.side
    return None


@cv.operators.add.dispatch
def _add_diagonal(a: SampleSpaceOperator, b: Diagonal) -> Operator:
    """A + s·I moves all eigenvalues."""
    xp, entries = a.xp, b.entries
    same = a.backend.name == b.backend.name and (b.space is None or a.space is None or a.space == b.space)
    if not same or a.backend.is_abstract(entries) or not bool(xp.all(entries == entries[0])):
        return _kept_apart(a, b)
    return a.like(a.shift + float(entries[0]), a.weights)


@cv.operators.add.dispatch
def _add_to_diagonal(a: Diagonal, b: SampleSpaceOperator) -> Operator:
    total: Operator = cv.operators.add(b, a)
    return total


def _kept_apart(a: Operator, b: Operator) -> Operator:
    total: Operator = cv.operators.add.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
    return total


@cv.operators.compose.dispatch
def _compose(a: SampleSpaceOperator, b: SampleSpaceOperator) -> Operator:
    """Operators on one side commute, and their product is one of them."""
    if a.side is not b.side:
        product: Operator = cv.operators.compose.invoke(Operator, Operator)(a, b)  # type: ignore[attr-defined]
        return product
    values = a.side.eigen[0]
    zeros = a.xp.zeros_like(values)
    return a.like(*multiplied(values, (a.shift, zeros + a.weights), (b.shift, zeros + b.weights)))


@cv.files.pack.dispatch
def _pack(operator: SampleSpaceOperator) -> Any:
    side = operator.side
    if not isinstance(side, RowsSide):
        raise cv.UnsupportedError("a matrix-free sample-space operator holds no rows that could be saved; take storage='rows'")
    # Weights belong to these very eigenvectors; where they are one number, no eigenvectors are needed.
    eigen = None if operator.is_plain else list(side.eigen)
    parts = {"rows": side.rows, "eigen": eigen, "rcond": side.rcond, "space": side.space}
    return {**parts, "shift": operator.shift, "weights": operator.weights}


@cv.files.unpack.dispatch
def _unpack(kind: type[SampleSpaceOperator], parts: Any, backend: cv.Backend) -> Any:
    eigen = None if parts["eigen"] is None else (parts["eigen"][0], parts["eigen"][1])
    side = RowsSide(parts["rows"], backend, space=parts["space"], rcond=parts["rcond"], eigen=eigen)
    return SampleSpaceOperator(side, shift=parts["shift"], weights=parts["weights"])
