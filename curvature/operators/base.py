"""The operator interface: every operator has every operation, exact where its structure allows it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..autodiff import Traced
from ..errors import (
    DensifiedWarning,
    MixedBackendError,
    NotSymmetricError,
    ShapeError,
    UnsupportedError,
)
from ..trees import ParameterSpace, flatten
from .damping import check_damping
from .moving import carry, destination

if TYPE_CHECKING:
    from ..backend import Backend, Rng

Array = Any
Tree = Any

DENSE_LIMIT = 5_000
"""Largest number of rows for which an operation may build a dense matrix behind the caller's back (200 MB in float64)."""


class Operator(ABC):
    """A real linear operator of shape (m, n), usually P × P and symmetric.

    A subclass gives ``_matmat`` and, where its structure allows, the kernels below it; the rest follows: from the dense
    matrix where there are at most ``dense_limit`` rows (``DensifiedWarning``), and otherwise from products, iteratively or
    estimated to a tolerance (``EstimatedWarning`` says by which method, and how well). Vectors may
    be flat (n,), matrices (n, K), or trees of parameters where the operator knows its ``space``; a result has the form
    of the argument. Operators are immutable.

    Attributes:
        backend: where its arrays live.
        space: the parameters that its rows stand for, or None.
        symmetric: whether it equals its transpose.
        structure: name of the structure ("dense", "diagonal", …).
        dense_limit: rows up to which an operation that the structure lacks builds the dense matrix.
    """

    structure: ClassVar[str]
    backend: Backend
    space: ParameterSpace | None
    symmetric: bool = True

    # What a subclass must give ------------------------------------------------------------------------

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    @abstractmethod
    def dtype(self) -> Any:
        """Floating dtype of its entries."""

    @abstractmethod
    def _matmat(self, v: Array) -> Array:
        """Product with a matrix (n, K)."""

    @abstractmethod
    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Operator:
        """The same operator with ``function`` applied to each of its arrays, on ``backend``."""

    # What a subclass may give -------------------------------------------------------------------------

    @property
    def dense_limit(self) -> int:
        return DENSE_LIMIT

    @property
    def matrix_free(self) -> bool:
        """Whether it is known by its products alone: all else takes many of them."""
        return self.structure == "matrix-free"

    def for_repeated_products(self) -> Operator:
        """The same operator with all done once that products do not differ in, where that takes little memory."""
        return self

    def _transpose(self) -> Operator:
        return self._fallback("transpose")._transpose()

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._fallback("solve")._solve(v, damping)

    def preconditioner(self, damping: Any) -> Callable[[Array], Array] | None:
        """An approximation of (A + damping·I)⁻¹ of matrices (P, K) that makes conjugate gradients quicker, if there is one."""
        return None

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(A + damping·I)⁻¹ as an operator, of the same structure where that is closed."""
        return self._fallback("inverse").inverse(damping)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        """(A + damping·I)^p, the symmetric matrix power.

        Raises:
            NotSymmetricError: for an operator that is not symmetric.
            NotPositiveDefiniteError: if p is not a whole number and an eigenvalue is negative.
        """
        return self._fallback("power").power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        """log det(A + damping·I), a 0-d array, of a positive definite operator."""
        return self._fallback("logdet").logdet(damping)

    def trace(self) -> Array:
        """Sum of the diagonal, a 0-d array."""
        if type(self).diagonal is Operator.diagonal:
            return self._fallback("trace").trace()
        return self.xp.sum(self.diagonal())

    def diagonal(self) -> Array:
        """The diagonal (P,)."""
        return self._fallback("diagonal").diagonal()

    def norm(self, order: str | int = "fro") -> Array:
        """Frobenius norm ("fro") or spectral norm (2), a 0-d array."""
        return self._fallback("norm").norm(order)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        """Eigenvalues (k,) and orthonormal eigenvectors (P, k) of a symmetric operator.

        All of them, ascending, or with ``k`` the k largest in magnitude, largest first.
        """
        return self._fallback("eigh").eigh(k)

    def to_dense(self) -> Array:
        """The matrix as an array (m, n)."""
        from .columns import dense_columns

        return dense_columns(self)

    def block(self, name: str) -> Operator:
        """The diagonal block of the parameter called ``name``."""
        return self._fallback("block").block(name)

    def scaled(self, factor: Any) -> Operator:
        """factor · A."""
        from .lazy import Scaled

        return Scaled(self, factor)

    def _inner(self, other: Operator) -> Array | None:
        """<A, B>, the sum of the products of the entries, for any B; None where that takes the columns of both."""
        return None

    def _tree_product(self, tree: Tree) -> Tree | None:
        """Product with a params tree that fits ``space``, or None where it is that of the flat vector."""
        return None

    # What every operator has --------------------------------------------------------------------------

    @property
    def xp(self) -> Any:
        """The Array API namespace of its arrays."""
        return self.backend.xp

    @property
    def T(self) -> Operator:
        """The transpose."""
        return self if self.symmetric else self._transpose()

    def solve(self, v: Any, damping: Any = 0.0) -> Any:
        """(A + damping·I)⁻¹ v, for v a vector (P,), a matrix (P, K) or a params tree.

        Raises:
            SingularMatrixError: naming a damping that would do.
        """
        self._require_square("solve")
        damping = check_damping(damping)
        return self._on(v, lambda matrix: self._solve(matrix, damping), rows=self.shape[0])

    def sample(self, rng: Rng, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Array:
        """``n`` draws (n, P) from N(0, (A + damping·I)⁻¹), or with ``inverse=False`` from N(0, A + damping·I)."""
        self._require_symmetric("sample")
        root = self.power(-0.5 if inverse else 0.5, damping)
        noise = rng.normal((self.shape[0], n), dtype=self.dtype)
        return self.xp.matrix_transpose(root._matmat(noise))

    _certify: Callable[..., Any] | None = None

    def certificate(self, **options: Any) -> Any:
        """How far this approximation is from the matrix that it was made of: ‖M - A‖ / ‖M‖ in the Frobenius norm.

        Neither is formed. ``options`` are those of ``curvature.certificate``.

        Returns:
            a ``Certificate``: the relative error, exact or with an interval, and how it was found.

        Raises:
            UnsupportedError: this operator was not made by ``curvature.approximate``.
        """
        if self._certify is None:
            raise UnsupportedError(
                f"this {type(self).__name__} does not know what it approximates; curvature.approximate(matrix, method) gives "
                f"operators that do, and curvature.certificate(A, matrix) takes both"
            )
        return self._certify(self, **options)

    def to(self, backend: str | Backend, *, device: Any = None, dtype: str | None = None) -> Operator:
        """The same operator on another backend, device or dtype: every array is carried there, to the last bit.

        Args:
            backend: a name ("jax") or a backend.
            device: where its arrays go, for a backend given by name; None is the library's default.
            dtype: name of the floating dtype that they get; None keeps theirs, unless ``backend`` has one of its own.

        Raises:
            PrecisionError: the backend lacks the dtype.
            UnsupportedError: the operator holds no arrays (it is matrix-free); says what to move instead.
        """
        target = destination(backend, device, dtype)
        return self.map_arrays(lambda array: carry(array, self.backend, target, dtype), target)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Operator):
            from .algebra import compose

            if self.shape[1] != other.shape[0]:
                raise ShapeError(f"cannot multiply operators of shapes {self.shape} and {other.shape}")
            return compose(self, other)
        return self._on(other, self._matmat, rows=self.shape[1], on_tree=self._tree_product)

    def __add__(self, other: Any) -> Operator:
        if not isinstance(other, Operator):
            return NotImplemented
        from .algebra import add

        if self.shape != other.shape:
            raise ShapeError(f"cannot add operators of shapes {self.shape} and {other.shape}")
        total: Operator = add(self, other)
        return total

    def __mul__(self, factor: Any) -> Operator:
        if isinstance(factor, Operator):
            raise TypeError("the product of two operators is written A @ B; * takes a number")
        if getattr(factor, "shape", ()) != ():
            raise ShapeError(f"* takes a number, got an array of shape {tuple(factor.shape)}; products are written A @ v")
        return self.scaled(factor)

    __rmul__ = __mul__

    def __neg__(self) -> Operator:
        return self.scaled(-1.0)

    def __sub__(self, other: Any) -> Operator:
        if not isinstance(other, Operator):
            return NotImplemented
        return self + other.scaled(-1.0)

    def __truediv__(self, divisor: Any) -> Operator:
        return self.scaled(1.0 / divisor)

    # ``numpy_array * operator`` must come to ``__rmul__`` rather than broadcast over the array.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"{type(self).__name__}({rows} × {columns}, {self.dtype}, {self.backend.name})"

    # For subclasses -----------------------------------------------------------------------------------

    def _on(
        self, v: Any, kernel: Callable[[Array], Array], rows: int, on_tree: Callable[[Tree], Tree | None] | None = None
    ) -> Any:
        """Apply a kernel for matrices (rows, K) to a vector, a matrix or a params tree."""
        xp = self.xp
        if hasattr(v, "shape") and hasattr(v, "dtype"):
            leaf_shape = self.space.shapes[0] if self.space is not None and len(self.space.shapes) == 1 else None
            bare_leaf = leaf_shape == tuple(v.shape) and flatten(v)[1] == self.space.treespec  # type: ignore[union-attr]
            if not bare_leaf or len(v.shape) == 1:
                if v.ndim not in (1, 2) or v.shape[0] != rows:
                    raise ShapeError(
                        f"a {type(self).__name__} of shape {self.shape} cannot be applied to an array of shape "
                        f"{tuple(v.shape)}: pass ({rows},), ({rows}, K) or a tree of parameters"
                    )
                self._check_owned(v)
                return kernel(v) if v.ndim == 2 else kernel(xp.expand_dims(v, axis=1))[:, 0]
        if self.space is None:
            raise ShapeError(f"this {type(self).__name__} does not know any parameters; pass a vector ({rows},)")
        if on_tree is not None:
            for leaf in self.space.flatten(v, what="the vector"):
                self._check_owned(leaf)
            product = on_tree(v)
            if product is not None:
                return product
        flat = self.space.ravel(xp, v, what="the vector")
        self._check_owned(flat)
        return self.space.unravel(xp, kernel(xp.expand_dims(flat, axis=1))[:, 0])

    def _check_owned(self, v: Array) -> None:
        if isinstance(v, Traced):
            return
        if not self.backend.owns(v):
            raise MixedBackendError(
                f"an operator on {self.backend.name!r} met a {type(v).__module__}.{type(v).__name__}; "
                f"convert it with backend.asarray, or move the operator with .to(...)"
            )
        if v.dtype != self.dtype:
            raise MixedBackendError(
                f"an operator of {self.dtype} met an array of {v.dtype}; convert it, for example with xp.astype"
            )

    def _identity(self, n: int) -> Array:
        return self.xp.eye(n, dtype=self.dtype, device=self._device)

    @property
    def _device(self) -> Any:
        return self.backend.device

    def _fallback(self, operation: str) -> Operator:
        """What stands in for an operation that the structure lacks: the dense matrix, or methods that need products only."""
        from .dense import Dense
        from .iterative import Iterative

        rows, columns = self.shape
        if max(rows, columns) > self.dense_limit:
            return cast("Operator", Iterative(self))
        warnings.warn(
            f"{operation} of a {type(self).__name__} builds a dense {rows} × {columns} matrix",
            DensifiedWarning,
            stacklevel=3,
        )
        return Dense(self.to_dense(), backend=self.backend, space=self.space, symmetric=self.symmetric)

    def _require_square(self, operation: str) -> None:
        if self.shape[0] != self.shape[1]:
            raise ShapeError(f"{operation} needs a square operator, this one has shape {self.shape}")

    def _require_symmetric(self, operation: str) -> None:
        self._require_square(operation)
        if not self.symmetric:
            raise NotSymmetricError(f"{operation} is defined for symmetric operators; take (A + A.T) / 2 if that is meant")
