"""From the records of an evaluation to uses, checked against the autograd graph so that nothing is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import resolve_name

from .arrangement import Arrangement, candidates, separates
from .found import Found
from .promotion import promote, record_of_examples
from .recording import Recorder
from .records import Key, Record

Reach = Callable[[Sequence[Record], int], Sequence[Tensor]]
"""Where cotangents of one example's outputs alone go: booleans of the shape of the result of each record."""


class Resolution:
    """What an evaluation showed.

    Args:
        recorder: what was recorded.
        outputs: of the evaluation.
        reach: tells apart the axes that examples may lie on; None if that is not asked.

    Attributes:
        found: the uses.
        unrecognised: path -> reason.
        unused: paths.
    """

    def __init__(self, recorder: Recorder, outputs: Tensor, reach: Reach | None) -> None:
        self._recorder, self._device = recorder, outputs.device
        edges = _edges(recorder.key(outputs))
        reached = {node for node, _ in edges}
        records = [record for record in recorder.records if record.result[0] in reached]
        n = None if reach is None else (int(outputs.shape[0]) if outputs.ndim else 0)
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
        where = [None] * len(live) if n is None or reach is None else _arrangements(live, n, reach)
        for record, arrangement in zip(live, where, strict=True):
            if arrangement is None and n is not None:
                reason = f"it is not to be seen which axis of {record.shape} is that of the examples"
                for view in (record.view, record.bias):
                    if view is not None:
                        self.unrecognised.setdefault(view.path, reason)
        found = _merge_shifts(live, where, edges)
        self.found = [use for use in found if n is None or use.arrangement is not None]

    def _accepted(self, records: Iterable[Record], n: int | None) -> tuple[list[Record], dict[Key, str]]:
        """Those that can be relied on; reasons against the others, by what they took."""
        live: list[Record] = []
        refused: dict[Key, str] = {}
        for record in records:
            reason = _objection(record, n) or self._better(record, n)
            if reason is None:
                live.append(record)
            else:
                refused.update(dict.fromkeys(record.arguments, reason))
        return live, refused

    def _better(self, record: Record, n: int | None) -> str | None:
        """Why a scale is not taken for one: where examples may repeat it, it is a shift of nothing before it scales."""
        if n is None or record.kind != "scale" or not (record.view.expanded or record.view.lookup):
            return None
        if record_of_examples(self._recorder, record.arguments[0], n, self._device) is None:
            return None
        return "enters where it is made for each example"


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
    if n is not None and not candidates(record.shape, record.own_axes, n):
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


def _arrangements(records: Sequence[Record], n: int, reach: Reach) -> list[Arrangement | None]:
    """Where the examples of each record lie, None where that cannot be told.

    Where shapes do not tell, as with as many positions as examples, it is seen from where single examples' outputs lead.
    """
    options = [candidates(record.shape, record.own_axes, n) for record in records]
    for example in (n // 2, 0):
        doubtful = [i for i, several in enumerate(options) if len(several) > 1]
        if doubtful:
            for i, reached in zip(doubtful, reach([records[i] for i in doubtful], example), strict=True):
                # If none fits, examples are mixed there: for the core to find and to say.
                options[i] = [o for o in options[i] if separates(o, reached, example)] or options[i][:1]
    return [several[0] if len(several) == 1 else None for several in options]


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
    own, others = ([axis for axis in r.own_axes if r.shape[axis] > 1] for r in (shift, product))
    return own == others
