"""From the records of an evaluation to uses, checked against the autograd graph so that nothing is missed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.autograd.graph import GradientEdge

import curvature as cv

from .recording import Recorder
from .records import Key, Record


@dataclass(frozen=True)
class Found:
    """A use before its inputs are cut into patches."""

    record: Record
    bias: str | None
    edge: GradientEdge
    shape: tuple[int, ...]

    @property
    def is_flat(self) -> bool:
        """Whether d_out is 1 and the output has no axis for it (its weight is a vector, or its shift a number)."""
        weight = self.record.weight
        return len(self.shape) == 1 if weight is None else len(weight.shape) == 1

    def use(self) -> cv.Use:
        """What the core is told."""
        record, weight = self.record, self.record.weight
        if weight is None:
            assert record.bias is not None
            return cv.Use("shift", record.bias.path, None, None, (1, 1 if self.is_flat else self.shape[-1]))
        assert record.inputs is not None
        if record.patches is not None:
            rows = weight.shape[0]
            matrix = (rows, math.prod(weight.shape[1:]))
            return cv.Use("linear", weight.path, self.bias, record.patches.cut(record.inputs), matrix, True)
        matrix = (weight.shape[0], 1) if self.is_flat else weight.matrix_shape
        return cv.Use("linear", weight.path, self.bias, record.inputs, matrix, record.by_rows)

    def cotangent(self, g: Tensor) -> Tensor:
        """(R, N, *positions, d_out) from the cotangents of the output as it was computed."""
        if self.record.patches is not None:
            return g.flatten(3).mT
        return g[..., None] if self.is_flat else g


def resolve(
    recorder: Recorder, outputs: Tensor, *, by_example: bool = True
) -> tuple[list[Found], dict[str, str], tuple[str, ...]]:
    """(uses, unrecognised, unused), from the records checked against the graph.

    Every parameter, and every view of one, has as many edges out of it as functions took it. Those that no
    record accounts for are uses that were not understood, seen or not: nothing can be missed.

    Args:
        by_example: whether the first axis of each use must be that of the outputs.
    """
    edges = _edges(recorder.key(outputs))
    reached = {node for node, _ in edges}
    explained: Counter[Key] = Counter(source for source, made in recorder.made_views if made[0] in reached)
    live: list[Record] = []
    refused: dict[Key, str] = {}
    for record in recorder.records:
        if record.result[0] not in reached:
            continue
        reason = _objection(record, outputs if by_example else None)
        if reason is None:
            live.append(record)
            explained.update(record.arguments)
        else:
            refused.update(dict.fromkeys(record.arguments, reason))

    unrecognised: dict[str, str] = {}
    for key, view in recorder.views.items():
        if edges[key] > explained[key]:
            unrecognised.setdefault(view.path, refused.get(key) or _reason(recorder.seen.get(key)))
    unused = tuple(path for path, key in recorder.leaves.items() if not edges[key])
    return _merge_shifts(live, edges), unrecognised, unused


def _edges(root: Key | None) -> Counter[Key]:
    """How often each value in the graph below ``root`` is used (the root itself once)."""
    found: Counter[Key] = Counter()
    if root is None:
        return found
    found[root] = 1
    visited = {root[0]}
    waiting = [root[0]]
    while waiting:
        for node, output in waiting.pop().next_functions:
            if node is None:
                continue
            found[node, output] += 1
            if node not in visited:
                visited.add(node)
                waiting.append(node)
    return found


def _objection(record: Record, outputs: Tensor | None) -> str | None:
    """Why a use cannot be relied on, or None."""
    if outputs is not None and (outputs.ndim == 0 or record.shape[:1] != outputs.shape[:1]):
        return f"enters an array of shape {record.shape}, whose first axis is not that of the outputs' examples"
    if record.inputs is not None and record.inputs._version != record.version:
        return "its inputs were overwritten after they were used"
    return None


def _reason(function: str | None) -> str:
    if function is None:
        return "enters through something that torch does not show, such as a custom autograd.Function"
    return f"enters through {function}"


def _merge_shifts(live: Sequence[Record], edges: Counter[Key]) -> list[Found]:
    """Uses in order, a vector that is added to a product and to nothing else being that product's bias.

    The product must go nowhere but into that sum: otherwise weight and bias have different cotangents.
    """
    merged: dict[Key, Record] = {}
    products = {r.result: r for r in live if r.weight is not None and r.bias is None and r.patches is None}
    for record in live:
        if record.weight is None and record.base is not None and record.base in products and edges[record.base] == 1:
            merged[record.base] = record
    found = []
    for record in live:
        shift = merged.get(record.result)
        if shift is not None and shift.bias is not None:
            found.append(Found(record, shift.bias.path, shift.edge, shift.shape))
        elif record.weight is not None:
            found.append(Found(record, record.bias.path if record.bias else None, record.edge, record.shape))
        elif record.base is None or merged.get(record.base) is not record:
            found.append(Found(record, None, record.edge, record.shape))
    return found
