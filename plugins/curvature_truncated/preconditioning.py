"""What truncated methods have in common: they keep the matrix, and any other approximation may precondition them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import curvature as cv
from curvature.operators import Operator

Tree = Any


class TruncatedMethod(cv.Approximation):
    """Base of the methods; ``preconditioner`` is the name of an approximation, an approximation, its class or None."""

    preconditioner: Any

    def chosen(self) -> cv.Approximation | None:
        """The approximation that preconditions this one.

        Raises:
            DataError: if the option is none.
            UnknownApproximationError: if there is none of that name; says which there are.
        """
        given = self.preconditioner
        if isinstance(given, str):
            found: Any = cv.approximation(given)
        else:
            found = given() if isinstance(given, type) else given
        if found is not None and not isinstance(found, cv.Approximation):
            raise cv.DataError(
                f"{self.name}: preconditioner is the name of an approximation, an approximation or None, got {given!r}"
            )
        return found

    @property
    def merges(self) -> Literal["exact", "approximate"]:  # type: ignore[override]
        """As the preconditioner does."""
        found = self.chosen()
        return "exact" if found is None else found.merges

    def merge(self, statistics: list[Tree], weights: list[Any]) -> Tree:
        """As the preconditioner does: the rest is no statistics."""
        found = self.chosen()
        if found is None:
            return super().merge(statistics, weights)
        return {"preconditioner": found.merge([each["preconditioner"] for each in statistics], weights)}


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: TruncatedMethod, backend: cv.Backend) -> Generator[Any, Any, Tree]:
    """{"preconditioner": its statistics}, or nothing: the matrix itself is kept."""
    matrix._require_symmetric("a truncated inverse")
    preconditioner = method.chosen()
    if preconditioner is None:
        return {}
    return {"preconditioner": (yield from cv.estimate.steps(matrix, preconditioner, backend))}


def kept(method: TruncatedMethod, statistics: Tree, structure: cv.Structure) -> tuple[Operator, Operator | None]:
    """The matrix that a truncated method keeps, and the approximation of it that preconditions.

    Raises:
        UnsupportedError: if there is no matrix, only statistics.
    """
    matrix: Operator | None = structure.matrix
    if matrix is None:
        raise cv.UnsupportedError(
            f"{method.name!r} keeps the matrix itself, and statistics alone do not hold it: take curvature.approximate(matrix, "
            f"{method.name!r}), or build with structure.of(matrix)"
        )
    preconditioner = method.chosen()
    if preconditioner is None:
        return matrix, None
    return matrix, cv.build(preconditioner, statistics["preconditioner"], structure)
