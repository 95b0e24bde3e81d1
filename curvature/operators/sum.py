"""A sum of operators of different structures, kept as its terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from ..trees import ParameterSpace
from .base import Operator

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class Sum(Operator):
    """A_1 + … + A_k with terms of any structures.

    Products, trace, diagonal, blocks and the Frobenius norm are those of the terms, exactly. ``solve`` and what needs
    eigenvalues have no closed form: they are made from the dense matrix where it is small, and iteratively where it is not.

    Args:
        terms: operators of one shape on one backend; sums among them are taken apart.

    Raises:
        ShapeError: if there are none, or their shapes differ.
    """

    structure: ClassVar[str] = "sum"

    def __init__(self, terms: Sequence[Operator], *, space: ParameterSpace | None = None) -> None:
        flat: list[Operator] = []
        for term in terms:
            flat.extend(term.terms if isinstance(term, Sum) else [term])
        if not flat or any(term.shape != flat[0].shape for term in flat):
            raise ShapeError(f"a sum needs operators of one shape, got {[term.shape for term in flat]}")
        self.terms: tuple[Operator, ...] = tuple(flat)
        self.backend = flat[0].backend
        self.space = space if space is not None else next((t.space for t in flat if t.space is not None), None)
        self.symmetric = all(term.symmetric for term in flat)

    @property
    def shape(self) -> tuple[int, int]:
        return self.terms[0].shape

    @property
    def dtype(self) -> Any:
        return self.terms[0].dtype

    @property
    def dense_limit(self) -> int:
        return min(term.dense_limit for term in self.terms)

    @property
    def matrix_free(self) -> bool:
        return any(term.matrix_free for term in self.terms)

    def _map(self, function: Callable[[Operator], Operator]) -> Sum:
        return Sum([function(term) for term in self.terms], space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Sum:
        return self._map(lambda term: term.map_arrays(function, backend))

    def _matmat(self, v: Array) -> Array:
        first, *rest = self.terms
        total = first._matmat(v)
        for term in rest:
            total = total + term._matmat(v)
        return total

    def _transpose(self) -> Sum:
        return self._map(lambda term: term.T)

    def trace(self) -> Array:
        return sum(term.trace() for term in self.terms)

    def diagonal(self) -> Array:
        first, *rest = self.terms
        total = first.diagonal()
        for term in rest:
            total = total + term.diagonal()
        return total

    def _inner(self, other: Operator) -> Array:
        from .inner import inner

        return sum(inner(term, other) for term in self.terms)

    def norm(self, order: str | int = "fro") -> Array:
        if order != "fro" or self.matrix_free:
            return super().norm(order)
        from .inner import inner

        total: Any = 0.0
        for i, left in enumerate(self.terms):
            total = total + inner(left, left)
            for right in self.terms[i + 1 :]:
                total = total + 2.0 * inner(left, right)
        # Terms that cancel leave the rounding of what they were.
        return self.xp.sqrt(self.xp.where(total > 0, total, self.xp.zeros_like(total)))

    def block(self, name: str) -> Operator:
        from .algebra import total

        return total([term.block(name) for term in self.terms])

    def scaled(self, factor: Any) -> Sum:
        return self._map(lambda term: term.scaled(factor))

    def preconditioner(self, damping: Any) -> Callable[[Array], Array] | None:
        """A structured approximation of the inverse for conjugate gradients: that of the term with the largest trace, damped by
        the mean eigenvalue of the others.
        """
        structured = [term for term in self.terms if not (term.matrix_free or term.structure in ("sum", "product"))]
        if not (self.symmetric and structured):
            return None
        traces = [float(term.trace()) for term in structured]
        best = max(range(len(traces)), key=traces.__getitem__)
        rest = sum(traces) - traces[best]
        shift = damping + max(rest, 0.0) / self.shape[0]
        if not (traces[best] > 0 and shift > 0):
            return None
        chosen = structured[best]
        return lambda v: chosen._solve(v, shift)
