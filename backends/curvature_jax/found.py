"""What is known of one use of a parameter before there are values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from .layout import Layout
from .views import Places

Array = Any


@dataclass(frozen=True)
class Site:
    """Where the output of a use is found.

    Attributes:
        step: number of the step.
        operand: None: its first output; otherwise the number of one of its inputs.
    """

    step: int
    operand: int | None = None


@dataclass(frozen=True)
class Found:
    """A use.

    Attributes:
        kind: as in ``curvature.Use``.
        parameter, bias: numbers of parameters.
        site: where its cotangents arise.
        layout: of the value there.
        matrix_shape, transposed, groups, entries: as in ``curvature.Use``.
        sources: numbers of the values from which ``prepare`` makes the inputs.
        sign: -1 where the parameter is subtracted.
    """

    kind: Literal["linear", "scale", "embedding", "shift"]
    parameter: int
    site: Site
    layout: Layout
    matrix_shape: tuple[int, int]
    transposed: bool = False
    groups: int = 1
    entries: Places | None = None
    sources: tuple[int, ...] = ()
    prepare: Callable[..., Array] | None = None
    sign: int = 1
    bias: int | None = None

    @property
    def columns(self) -> int:
        """d_out."""
        return math.prod(self.layout.feature_shape)

    def with_bias(self, parameter: int) -> Found:
        """The same with a vector that is added to its output."""
        return replace(self, bias=parameter)
