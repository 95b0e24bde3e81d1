"""A product of operators, kept as its factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..trees import ParameterSpace
from .base import Operator
from .damping import is_zero

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class Product(Operator):
    """A B, not symmetric even where A and B are (unless they commute).

    Products and the trace, <Aᵀ, B>, are exact, as are ``solve`` and ``inverse`` without damping: B⁻¹ A⁻¹. What needs the
    damped product is made from the dense matrix where it is small, and iteratively where it is not.

    Args:
        left, right: A (m, k) and B (k, n), on one backend.
    """

    structure: ClassVar[str] = "product"
    symmetric = False

    def __init__(self, left: Operator, right: Operator, *, space: ParameterSpace | None = None) -> None:
        self.left, self.right = left, right
        self.backend = left.backend
        self.space = space if space is not None else (left.space if left.space is not None else right.space)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.left.shape[0], self.right.shape[1])

    @property
    def dtype(self) -> Any:
        return self.left.dtype

    @property
    def dense_limit(self) -> int:
        return min(self.left.dense_limit, self.right.dense_limit)

    @property
    def matrix_free(self) -> bool:
        return self.left.matrix_free or self.right.matrix_free

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Product:
        return Product(self.left.map_arrays(function, backend), self.right.map_arrays(function, backend), space=self.space)

    def _matmat(self, v: Array) -> Array:
        return self.left._matmat(self.right._matmat(v))

    def _transpose(self) -> Product:
        return Product(self.right.T, self.left.T, space=self.space)

    def _solve(self, v: Array, damping: Any) -> Array:
        if self._splits(damping):
            return self.right._solve(self.left._solve(v, 0.0), 0.0)
        return super()._solve(v, damping)

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(A B)⁻¹ = B⁻¹ A⁻¹ without damping."""
        if self._splits(damping):
            return Product(self.right.inverse(), self.left.inverse(), space=self.space)
        return super().inverse(damping)

    def _splits(self, damping: Any) -> bool:
        undamped = is_zero(damping)
        return undamped and all(factor.shape[0] == factor.shape[1] for factor in (self.left, self.right))

    def trace(self) -> Array:
        if self.matrix_free:
            return super().trace()
        self._require_square("trace")
        from .inner import inner

        return inner(self.left.T, self.right)

    def scaled(self, factor: Any) -> Product:
        return Product(self.left.scaled(factor), self.right, space=self.space)
