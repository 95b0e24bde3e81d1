"""What is kept of a call in which parameters entered as (part of) an affine map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from .patches import Patches
from .views import View

Key = tuple[Node, int]
"""A value in the autograd graph: the node that made it and which of its outputs it is."""


@dataclass
class Record:
    """A call that used parameters in a way that is understood.

    Attributes:
        arguments: the parameters (or views of them) that it took.
        weight, bias: the views that entered as weight and bias; a shift has a bias only.
        inputs: what was multiplied with the weight, without its history.
        attached: the same with it.
        version: of ``inputs``, which must not be overwritten afterwards.
        edge: where cotangents of the result are found.
        shape: of the result.
        base: what a shift was added to.
        by_rows: whether the weight's matrix is (d_out, d_in).
        patches: of a convolution.
    """

    arguments: Sequence[Key]
    weight: View | None = None
    bias: View | None = None
    inputs: Tensor | None = None
    attached: Tensor | None = None
    version: int = 0
    base: Key | None = None
    by_rows: bool = False
    patches: Patches | None = None
    edge: GradientEdge = field(init=False)
    shape: tuple[int, ...] = field(init=False)

    @property
    def result(self) -> Key:
        """The result as a value in the graph."""
        return (self.edge.node, self.edge.output_nr)
