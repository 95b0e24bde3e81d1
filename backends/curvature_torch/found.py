"""A use before its inputs are cut into patches, and how its cotangents are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

import curvature as cv

from .arrangement import Arrangement
from .records import Record


@dataclass(frozen=True)
class Found:
    """A recorded call with the bias that was added to its result, and where its examples lie.

    Attributes:
        bias: path of the bias.
        edge, shape: of the sum.
        arrangement: where the examples lie.
    """

    record: Record
    bias: str | None
    edge: GradientEdge
    shape: tuple[int, ...]
    arrangement: Arrangement | None

    def use(self, like: Tensor) -> cv.Use:
        """What the core is told; ``like`` says the dtype and device of the outputs."""
        record, view = self.record, self.record.view
        if record.kind == "embedding":
            return self._embedding(like.device)
        if record.kind == "linear":
            return self._linear(like.device)
        entries = view.entries(like.device)
        if record.kind == "shift":
            return cv.Use("shift", view.path, None, None, (1, view.size), entries=entries)
        inputs = self._of(self._inputs.to(like.dtype).expand(record.shape), record.own_axes)
        return cv.Use("scale", view.path, self.bias, inputs, (1, view.size), entries=entries)

    @property
    def _inputs(self) -> Tensor:
        assert self.record.inputs is not None
        return self.record.inputs

    def _of(self, x: Tensor, own: tuple[int, ...], start: int = 0) -> Tensor:
        assert self.arrangement is not None
        return self.arrangement.of(x, own, start)

    def _linear(self, device: torch.device) -> cv.Use:
        record, view = self.record, self.record.view
        x = self._inputs
        if record.patches is not None:
            matrix, inputs = (view.shape[0], math.prod(view.shape[1:])), self._of(record.patches.cut(x), (2,))
            return cv.Use("linear", view.path, self.bias, inputs, matrix, True, record.groups, view.entries(device))
        inputs = self._of(x, tuple(x.ndim + axis for axis in record.contracted))
        if len(view.shape) == 3:  # a stack of matrices
            positions = view.positions(device).mT
            entries = None if view.is_all(positions) else positions.reshape(-1)
            matrix = (view.shape[0] * view.shape[2], view.shape[1])
            return cv.Use("linear", view.path, self.bias, inputs, matrix, True, record.groups, entries)
        if len(view.shape) == 1:
            return cv.Use("linear", view.path, self.bias, inputs, (view.size, 1), entries=view.entries(device))
        if view.gather is None:
            return cv.Use("linear", view.path, self.bias, inputs, view.matrix_shape, record.by_rows)
        rows, columns = view.shape
        return cv.Use("linear", view.path, self.bias, inputs, (rows, columns), record.by_rows, entries=view.entries(device))

    @property
    def _numbers(self) -> Tensor:
        """Numbers of the rows, for every entry of the result but those along a row: (N, *positions)."""
        lookup, lead = self.record.view.lookup, self._lead
        assert lookup is not None
        return self._of(lookup.numbers.expand(lead)[..., None], (len(lead),))[..., 0]

    @property
    def _lead(self) -> tuple[int, ...]:
        return self.record.shape[: len(self.record.shape) - len(self.record.own_axes)]

    def _embedding(self, device: torch.device) -> cv.Use:
        lookup = self.record.view.lookup
        assert lookup is not None
        matrix = (lookup.table.shape[0], math.prod(lookup.width))
        return cv.Use("embedding", self.record.view.path, None, self._numbers, matrix, entries=lookup.table.entries(device))

    def cotangent(self, g: Tensor) -> Tensor:
        """(R, N, *positions, d_out) from the cotangents of the output as it was computed."""
        record = self.record
        if record.patches is not None:
            g = g.flatten(3)
        arranged = self._of(g, record.own_axes, 1)
        if record.negative:
            arranged = -arranged
        if record.view.lookup is not None and record.view.lookup.padding is not None:
            arranged = arranged * (self._numbers != record.view.lookup.padding)[..., None]
        return arranged
