"""What is kept of a call in which a parameter entered as (part of) an affine map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from .patches import Patches
from .views import View

Key = tuple[Node, int]
"""A value in the autograd graph: the node that made it and which of its outputs it is."""


@dataclass
class Record:
    """A call that used a parameter in a way that is understood.

    Attributes:
        kind: how it entered, see ``curvature.Use``.
        view: what entered.
        arguments: it and the bias, by their places in the graph.
        bias: the whole parameter that the same call added.
        inputs: what was multiplied with the view, without its history.
        attached: the same with it.
        version: of ``inputs``, which must not be overwritten afterwards.
        base: what was added to, where the view was added.
        features: axes of the result that are d_out, counted from the end; None where they are those of the view, which is
            broadcast against the others.
        contracted: axes of ``inputs`` that are d_in of a linear map, counted from the end.
        by_rows: whether the weight's matrix is (d_out, d_in).
        patches: of a convolution.
        again: of a convolution, the same call with another weight and bias.
        groups: of a convolution, or of a product with a stack of matrices (groups, d_in, d_out).
        negative: whether it was subtracted.
        function: what was called.
        edge: where cotangents of the result are found.
        shape: of the result.
    """

    kind: Literal["linear", "scale", "embedding", "shift"]
    view: View
    arguments: Sequence[Key]
    bias: View | None = None
    inputs: Tensor | None = None
    attached: Tensor | None = None
    version: int = 0
    base: Key | None = None
    features: tuple[int, ...] | None = None
    contracted: tuple[int, ...] = (-1,)
    by_rows: bool = False
    patches: Patches | None = None
    again: Callable[[Tensor, Tensor | None], Tensor] | None = None
    groups: int = 1
    negative: bool = False
    function: Any = None
    edge: GradientEdge = field(init=False)
    shape: tuple[int, ...] = field(init=False)

    @property
    def result(self) -> Key:
        """The result as a value in the graph."""
        return (self.edge.node, self.edge.output_nr)

    @cached_property
    def own_axes(self) -> tuple[int, ...]:
        """Axes of the result along which d_out lies."""
        count = len(self.shape)
        if self.features is not None:
            return tuple(axis % count for axis in self.features)
        if self.kind == "embedding":
            assert self.view.lookup is not None
            return tuple(range(count - len(self.view.lookup.width), count))
        offset = count - len(self.view.shape)
        return tuple(offset + axis for axis, size in enumerate(self.view.shape) if size > 1)
