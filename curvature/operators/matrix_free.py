"""An operator known only by its products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import UnsupportedError
from ..trees import ParameterSpace
from .base import Operator

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any
Tree = Any


class MatrixFree(Operator):
    """A symmetric operator given by V ↦ A V.

    ``solve`` runs conjugate gradients to a relative residual of ``tolerance``. Other operations build the dense matrix of a
    small operator and say so (``DensifiedWarning``); of a large one they are iterative, or estimated (``EstimatedWarning``).

    Args:
        matmat: product with a matrix (P, K).
        size: P.
        dtype: dtype of the products.
        of_trees: product with a params tree, if that is no detour; by default that of the flat vector.
        tolerance: relative residual at which ``solve`` stops; by default 1e-10 in float64 and 1e-5 in float32.
    """

    structure: ClassVar[str] = "matrix-free"

    def __init__(
        self,
        matmat: Callable[[Array], Array],
        size: int,
        *,
        dtype: Any,
        backend: Backend,
        space: ParameterSpace | None = None,
        tolerance: float | None = None,
        of_trees: Callable[[Tree], Tree] | None = None,
    ) -> None:
        self._product = matmat
        self._of_trees = of_trees
        self._size = size
        self._dtype = dtype
        self.backend = backend
        self.space = space
        self.tolerance = tolerance

    @property
    def shape(self) -> tuple[int, int]:
        return (self._size, self._size)

    @property
    def dtype(self) -> Any:
        return self._dtype

    def _matmat(self, v: Array) -> Array:
        return self._product(v)

    def _tree_product(self, tree: Tree) -> Tree | None:
        return None if self._of_trees is None else self._of_trees(tree)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Operator:
        raise UnsupportedError(
            "a matrix-free operator holds no arrays that could be moved; move what it is made of (problem, model), or "
            "its dense form: curvature.operators.Dense(A.to_dense()).to(...)"
        )

    @property
    def dense_limit(self) -> int:
        # Each column is a product, and a product of a curvature matrix is a pass over the data.
        return 2_000

    def _solve(self, v: Array, damping: Any) -> Array:
        from .iterative import Iterative  # when it is needed: it brings linalg with it

        return Iterative(self)._solve(v, damping)

    def scaled(self, factor: Any) -> Operator:
        return MatrixFree(
            lambda v: self._matmat(v) * factor,
            self.shape[0],
            dtype=self.dtype,
            backend=self.backend,
            space=self.space,
            tolerance=self.tolerance,
        )
