"""Uses of parameters in one evaluation, with cotangents of their outputs from one backward pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

import curvature as cv

from .nesting import Place, differentiating, place, recording, variables
from .recording import Key, Record, Recorder
from .reverse import gradients

Tree = Any


def parameter_uses(f: Callable[[Tree, Any], Tensor], params: Tree, x: Any) -> TorchParameterUses:
    """Evaluate f(params, x) once and report how each parameter entered."""
    space = cv.ParameterSpace.of(params)
    arrays = space.flatten(params)
    if place(arrays) is not Place.TOP:
        raise cv.UnsupportedError("parameter_uses cannot be differentiated or mapped; call it outside of the transform")
    with recording():
        leaves = variables(arrays, nested=False)
        recorder = Recorder(dict(zip(space.names, leaves, strict=True)))
        with recorder, differentiating():
            outputs = f(space.unflatten(leaves), x)
    if not isinstance(outputs, Tensor):
        raise cv.ModelError(f"parameter_uses needs a function that returns one tensor, got {type(outputs).__name__}")
    return TorchParameterUses(space, leaves, outputs, recorder)


@dataclass(frozen=True)
class _Found:
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


class TorchParameterUses(cv.ParameterUses):
    """What one evaluation showed; it holds the graph of that evaluation until it is dropped."""

    unrecognised: Mapping[str, str]
    unused: tuple[str, ...]

    def __init__(self, space: cv.ParameterSpace, leaves: list[Tensor], outputs: Tensor, recorder: Recorder) -> None:
        self.outputs = outputs.detach()
        self._graph = outputs
        self._space = space
        self._leaves = leaves
        self._found, self.unrecognised, self.unused = _resolve(recorder, outputs)

    @cached_property
    def uses(self) -> tuple[cv.Use, ...]:  # type: ignore[override]
        """The recognised uses. (Patches of convolutions are cut when this is first asked for.)"""
        return tuple(found.use() for found in self._found)

    def cotangents(self, seeds: Tensor) -> Sequence[Tensor]:
        edges = [found.edge for found in self._found]
        if len(seeds) == 1:
            return self._complete([None if g is None else g[None] for g in self._backward(edges, seeds[0])], seeds)
        try:
            pulled = self._backward(edges, seeds, batched=True)
        except RuntimeError:  # some backward pass in it cannot be mapped
            columns = zip(*(self._backward(edges, seed) for seed in seeds), strict=True)
            pulled = [None if any(g is None for g in gs) else torch.stack(gs) for gs in columns]
        return self._complete(pulled, seeds)

    def pull(self, seed: Tensor) -> Tree:
        return self._space.unflatten(gradients([self._graph], self._leaves, [seed], keep=True))

    def pull_both(self, seed: Tensor) -> tuple[Tree, Sequence[Tensor]]:
        edges = [found.edge for found in self._found]
        pulled = self._backward([*self._leaves, *edges], seed)
        count = len(self._leaves)
        tree = [torch.zeros_like(p) if g is None else g for p, g in zip(self._leaves, pulled[:count], strict=True)]
        cotangents = self._complete([None if g is None else g[None] for g in pulled[count:]], seed[None])
        return self._space.unflatten([g.detach() for g in tree]), cotangents

    def _backward(self, inputs: Sequence[Any], seeds: Tensor, batched: bool = False) -> list[Tensor | None]:
        if not inputs or not self._graph.requires_grad:
            return [None] * len(inputs)
        return list(
            torch.autograd.grad(
                self._graph, inputs, seeds.detach(), retain_graph=True, allow_unused=True, is_grads_batched=batched
            )
        )

    def _complete(self, pulled: Sequence[Tensor | None], seeds: Tensor) -> list[Tensor]:
        return [
            found.cotangent(seeds.new_zeros((len(seeds), *found.shape)) if g is None else g)
            for found, g in zip(self._found, pulled, strict=True)
        ]


def _resolve(recorder: Recorder, outputs: Tensor) -> tuple[list[_Found], dict[str, str], tuple[str, ...]]:
    """(uses, unrecognised, unused), from the records checked against the graph.

    Every parameter, and every view of one, has as many edges out of it as functions took it. Those that no
    record accounts for are uses that were not understood, seen or not: nothing can be missed.
    """
    edges = _edges(recorder.key(outputs))
    reached = {node for node, _ in edges}
    explained: Counter[Key] = Counter(source for source, made in recorder.made_views if made[0] in reached)
    live: list[Record] = []
    refused: dict[Key, str] = {}
    for record in recorder.records:
        if record.result[0] not in reached:
            continue
        reason = _objection(record, outputs)
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


def _objection(record: Record, outputs: Tensor) -> str | None:
    """Why a use cannot be relied on, or None."""
    if outputs.ndim == 0 or record.shape[:1] != outputs.shape[:1]:
        return f"enters an array of shape {record.shape}, whose first axis is not that of the outputs' examples"
    if record.inputs is not None and record.inputs._version != record.version:
        return "its inputs were overwritten after they were used"
    return None


def _reason(function: str | None) -> str:
    if function is None:
        return "enters through something that torch does not show, such as a custom autograd.Function"
    return f"enters through {function}"


def _merge_shifts(live: Sequence[Record], edges: Counter[Key]) -> list[_Found]:
    """Uses in order, a vector that is added to a product and to nothing else being that product's bias.

    The product must go nowhere but into that sum: otherwise weight and bias have different cotangents.
    """
    merged: dict[Key, Record] = {}
    products = {r.result: r for r in live if r.weight is not None and r.bias is None and r.patches is None}
    for record in live:
        if record.weight is None and record.base in products and edges[record.base] == 1:
            merged[record.base] = record
    found = []
    for record in live:
        shift = merged.get(record.result)
        if shift is not None and shift.bias is not None:
            found.append(_Found(record, shift.bias.path, shift.edge, shift.shape))
        elif record.weight is not None:
            found.append(_Found(record, record.bias.path if record.bias else None, record.edge, record.shape))
        elif merged.get(record.base) is not record:
            found.append(_Found(record, None, record.edge, record.shape))
    return found
