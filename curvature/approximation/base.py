"""An approximation is a frozen dataclass of options and two functions, ``estimate`` and ``build``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import DataError, UnsupportedError
from ..trees import tree_map

if TYPE_CHECKING:
    from .cost import Cost, Layout

Tree = Any


class Approximation:
    """Base of the methods: subclass it as a frozen dataclass whose fields are the options.

    Give it a method of ``curvature.estimate`` for the matrices that it can approximate, and of ``curvature.build``.
    """

    name: ClassVar[str] = ""
    merges: ClassVar[Literal["exact", "approximate"]] = "exact"
    """Whether statistics of parts of the data, merged, are those of the whole."""

    def damped(self, damping: Any) -> tuple[Approximation, Any]:
        """(method, remaining damping): a method that puts damping into its own structure returns itself with it, and 0.

        By default all of it is left to ``operator.solve(v, damping)``, which is exact: (A + damping·I)⁻¹ v.
        """
        return self, damping

    def cost(self, layout: Layout) -> Cost | None:
        """What this approximation takes of a problem of these shapes: ``curvature.suggest`` chooses by it.

        None, the default, is not known: then it is measured on a few examples. Operations are counted as those of products of
        matrices; ``layout`` has the passes over the data, and decompositions with what they take longer.
        """
        return None

    def merge(self, statistics: list[Tree], weights: list[Any]) -> Tree:
        """Statistics of several sets of data as one: by default their weighted average (weights sum to 1).

        Streaming, exponential moving averages and data parallelism all rest on it.
        """
        if len(statistics) != len(weights) or not statistics:
            raise DataError(f"{len(statistics)} statistics and {len(weights)} weights; give one weight for each")
        total = tree_map(lambda a: a * weights[0], statistics[0])
        for values, weight in zip(statistics[1:], weights[1:], strict=True):
            total = tree_map(lambda a, b, weight=weight: a + b * weight, total, values)
        return total


def refuse(matrix: Any, method: Any) -> UnsupportedError:
    """The error of a method that is not defined for a matrix."""
    kind = type(matrix).__name__
    label = type(method).name or type(method).__name__
    if kind == "Hessian":
        why = (
            "the Hessian may be indefinite and is no average of J_nᵀ S_n S_nᵀ J_n; take curvature.GGN(problem) or "
            "curvature.Fisher(problem), or approximate the Hessian with 'kron-nearest', 'block-diagonal', 'diagonal' or 'exact'"
        )
    else:
        why = "write a method of curvature.estimate for this pair"
    return UnsupportedError(f"{label!r} is not defined for a {kind}: {why}")
