"""Uses of parameters in one evaluation, with cotangents of their outputs from one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import curvature as cv

from .nesting import Place, differentiating, place, recording, variables
from .recording import Recorder
from .records import Record
from .resolution import Resolution
from .reverse import gradients
from .support import supported
from .written_out import WRITTEN_OUT

Tree = Any


def parameter_uses(f: Callable[[Tree, Any], Tensor], params: Tree, x: Any) -> TorchParameterUses:
    """Evaluate f(params, x) once and report how each parameter entered."""
    space = cv.ParameterSpace.of(params)
    arrays = space.flatten(params)
    if place(arrays) is not Place.TOP:
        raise cv.UnsupportedError("parameter_uses cannot be differentiated or mapped; call it outside of the transform")
    with recording():
        leaves = variables(arrays, nested=False)
        recorder = Recorder(dict(zip(space.names, leaves, strict=True)), WRITTEN_OUT)
        with recorder, differentiating():
            outputs = f(space.unflatten(leaves), x)
    if not isinstance(outputs, Tensor):
        raise cv.ModelError(f"parameter_uses needs a function that returns one tensor, got {type(outputs).__name__}")
    return TorchParameterUses(space, leaves, outputs, recorder)


class TorchParameterUses(cv.ParameterUses):
    """What one evaluation showed; it holds the graph of that evaluation until it is dropped."""

    unrecognised: Mapping[str, str]
    unused: tuple[str, ...]

    def __init__(self, space: cv.ParameterSpace, leaves: list[Tensor], outputs: Tensor, recorder: Recorder) -> None:
        self.outputs = outputs.detach()
        self._graph = outputs
        self._space = space
        self._leaves = leaves
        resolution = Resolution(recorder, outputs, self._reach)
        self._found, self.unrecognised, self.unused = resolution.found, resolution.unrecognised, resolution.unused

    @cached_property
    def uses(self) -> tuple[cv.Use, ...]:  # type: ignore[override]
        """The recognised uses. (Patches of convolutions are cut when this is first asked for.)"""
        return tuple(found.use(self.outputs) for found in self._found)

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
        with supported():
            found = torch.autograd.grad(
                self._graph, inputs, seeds.detach(), retain_graph=True, allow_unused=True, is_grads_batched=batched
            )
        return [g if g is None or g.layout is torch.strided else g.to_dense() for g in found]

    def _reach(self, records: Sequence[Record], example: int) -> list[Tensor]:
        """Where cotangents of one example's outputs go: NaN passes through what happens to be zero."""
        seeds = torch.zeros_like(self.outputs)
        seeds[example] = torch.nan
        with torch.autograd.set_detect_anomaly(False):
            pulled = self._backward([record.edge for record in records], seeds)
        return [
            seeds.new_zeros(record.shape, dtype=torch.bool) if g is None else g.isnan()
            for record, g in zip(records, pulled, strict=True)
        ]

    def _complete(self, pulled: Sequence[Tensor | None], seeds: Tensor) -> list[Tensor]:
        return [
            found.cotangent(seeds.new_zeros((len(seeds), *found.shape)) if g is None else g)
            for found, g in zip(self._found, pulled, strict=True)
        ]
