"""A diagonal matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from ..trees import ParameterSpace
from .base import Operator
from .checks import check_rank, require_floating
from .damping import check_damping
from .spectral import largest_in_magnitude, log_determinant, powered

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class Diagonal(Operator):
    """diag(entries).

    Args:
        entries: vector (P,).
        space: the parameters that its rows stand for.

    Attributes:
        standard_error: of each entry, (P,), where they were estimated; None where they are exact. It is not saved.

    Raises:
        ShapeError: if the entries are no vector or do not fit ``space``.
    """

    structure: ClassVar[str] = "diagonal"
    standard_error: Array | None = None

    def __init__(self, entries: Array, *, backend: Backend | None = None, space: ParameterSpace | None = None) -> None:
        from ..registry import backend_of

        self.backend = backend_of(entries) if backend is None else backend
        if entries.ndim != 1:
            raise ShapeError(f"a diagonal operator needs a vector, got an array of shape {tuple(entries.shape)}")
        if space is not None and entries.shape[0] != space.size:
            raise ShapeError(f"{entries.shape[0]} diagonal entries do not fit {space.size} parameters")
        require_floating(self.xp, entries, "a diagonal operator")
        self.entries = entries
        self.space = space

    @property
    def shape(self) -> tuple[int, int]:
        n = int(self.entries.shape[0])
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.entries.dtype

    def _like(self, entries: Array) -> Diagonal:
        return Diagonal(entries, backend=self.backend, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Diagonal:
        return Diagonal(function(self.entries), backend=backend, space=self.space)

    def _matmat(self, v: Array) -> Array:
        return self.entries[:, None] * v

    def _solve(self, v: Array, damping: Any) -> Array:
        return powered(self.xp, self.entries, -1, damping, size=1)[:, None] * v

    def inverse(self, damping: Any = 0.0) -> Diagonal:
        return self.power(-1, damping)

    def power(self, p: float, damping: Any = 0.0) -> Diagonal:
        damping = check_damping(damping)
        return self._like(powered(self.xp, self.entries, p, damping, size=1))

    def logdet(self, damping: Any = 0.0) -> Array:
        damping = check_damping(damping)
        return log_determinant(self.xp, self.entries, damping, size=1)

    def diagonal(self) -> Array:
        return self.entries

    def _inner(self, other: Operator) -> Array:
        return self.xp.sum(self.entries * other.diagonal())

    def norm(self, order: str | int = "fro") -> Array:
        if order == "fro":
            return self.xp.sqrt(self.xp.sum(self.entries**2))
        if order == 2:
            return self.xp.max(self.xp.abs(self.entries))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        n = self.shape[0]
        check_rank(k, n)
        order = self.xp.argsort(self.entries) if k is None else largest_in_magnitude(self.xp, self.entries, k)
        return self.xp.take(self.entries, order), self.xp.take(self._identity(n), order, axis=1)

    def to_dense(self) -> Array:
        return self.entries[:, None] * self._identity(self.shape[0])

    def block(self, name: str) -> Diagonal:
        if self.space is None:
            raise ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = self.space.index(name)
        return Diagonal(self.entries[self.space.offsets[index] : self.space.offsets[index + 1]], backend=self.backend)

    def scaled(self, factor: Any) -> Diagonal:
        return self._like(self.entries * factor)
