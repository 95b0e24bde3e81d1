"""From the records of an evaluation to uses, checked against the autograd graph so that nothing is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

from .arrangement import Arrangement, candidates, separates
from .found import Found
from .promotion import promote
from .recording import Recorder
from .records import Key, Record

Pull = Callable[[Sequence[Record], int], Sequence[Tensor | None]]
"""Cotangents at the results of some records, of one example's outputs alone."""


class Resolution:
    """What an evaluation showed.

    Args:
        recorder: what was recorded.
        outputs: of the evaluation.
        pull: gives the cotangents that tell apart the axes which examples may lie on; None if that is not asked.

    Attributes:
        found: the uses.
        unrecognised: path -> reason.
        unused: paths.
    """

    def __init__(self, recorder: Recorder, outputs: Tensor, pull: Pull | None) -> None:
        self._recorder = recorder
        edges = _edges(recorder.key(outputs))
        reached = {node for node, _ in edges}
        records = [record for record in recorder.records if record.result[0] in reached]
        n = None if pull is None else (int(outputs.shape[0]) if outputs.ndim else 0)
        live, refused = self._accepted(records, n)
        explained: Counter[Key] = Counter(source for source, made in recorder.made_views if made[0] in reached)
        for record in live:
            explained.update(record.arguments)
        left = [key for key in recorder.views if edges[key] > explained[key]]
        if n is not None and left:
            live, left = promote(recorder, live, left, n, outputs.device)
        self.unrecognised: dict[str, str] = {}
        for key in left:
            reason = refused.get(key) or _reason(recorder.seen.get(key))
            self.unrecognised.setdefault(recorder.views[key].path, reason)
        self.unused = tuple(path for path, key in recorder.leaves.items() if not edges[key])
        where = _arrangements(live, n, pull) if n is not None and pull is not None else [None] * len(live)
        self.found = _merge_shifts(live, where, edges)

    def _accepted(self, records: Iterable[Record], n: int | None) -> tuple[list[Record], dict[Key, str]]:
        """Those that can be relied on; reasons against the others, by what they took."""
        live: list[Record] = []
        refused: dict[Key, str] = {}
        for record in records:
            reason = _objection(record, n)
            if reason is None:
                live.append(record)
            else:
                refused.update(dict.fromkeys(record.arguments, reason))
        return live, refused


def _edges(root: Key | None) -> Counter[Key]:
    """How often each value in the graph below ``root`` is used (the root itself once).

    Every parameter, and every view of one, has as many edges out of it as functions took it. Those that no record
    accounts for are uses that were not understood, seen or not: nothing can be missed.
    """
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


def _objection(record: Record, n: int | None) -> str | None:
    """Why a use cannot be relied on, or None."""
    if n is not None and not candidates(record.shape, record.own_axes(), n):
        return f"enters through {_name(record.function)} an array of shape {record.shape}, which has no axis of {n} examples"
    if record.inputs is not None and record.inputs._version != record.version:
        return "its inputs were overwritten after they were used"
    return None


def _name(function: Any) -> str:
    return resolve_name(function) or getattr(function, "__name__", repr(function))


def _reason(function: Any) -> str:
    if function is None:
        return "enters through something that torch does not show, such as a custom autograd.Function"
    return f"enters through {_name(function)}"


def _arrangements(live: Sequence[Record], n: int, pull: Pull) -> list[Arrangement | None]:
    """Where the examples of each record lie; where shapes alone do not tell, one backward pass does."""
    options = [candidates(record.shape, record.own_axes(), n) for record in live]
    doubtful = [i for i, several in enumerate(options) if len(several) > 1]
    chosen: list[Arrangement | None] = [several[0] for several in options]
    if doubtful:
        example = n // 2
        cotangents = pull([live[i] for i in doubtful], example)
        for i, g in zip(doubtful, cotangents, strict=True):
            if g is not None:
                fitting = [option for option in options[i] if separates(option, g, example)]
                chosen[i] = (fitting or options[i])[0]
    return chosen


def _merge_shifts(live: Sequence[Record], where: Sequence[Arrangement | None], edges: Counter[Key]) -> list[Found]:
    """Uses in order, a vector that is added to a product and to nothing else being that product's bias.

    The product must go nowhere but into that sum: otherwise weight and bias have different cotangents.
    """
    merged: dict[Key, Record] = {}
    products = {r.result: r for r in live if r.kind in ("linear", "scale") and r.bias is None}
    for record in live:
        if record.base is None or edges[record.base] != 1 or record.base in merged:
            continue
        product = products.get(record.base)
        if product is not None and _is_bias(record, product):
            merged[record.base] = record
    found = []
    taken = set(map(id, merged.values()))
    for record, arrangement in zip(live, where, strict=True):
        shift = merged.get(record.result) if record.result in products and products[record.result] is record else None
        if shift is not None:
            found.append(Found(record, shift.view.path, shift.edge, shift.shape, arrangement))
        elif id(record) not in taken:
            found.append(Found(record, record.bias.path if record.bias else None, record.edge, record.shape, arrangement))
    return found


def _is_bias(shift: Record, product: Record) -> bool:
    """Whether what was added to a product is a whole parameter, one number for each of its outputs."""
    if shift.kind != "shift" or shift.negative or not shift.view.is_whole or shift.shape != product.shape:
        return False
    own, others = ([axis for axis in r.own_axes() if r.shape[axis] > 1] for r in (shift, product))
    return own == others
