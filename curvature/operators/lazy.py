"""Operators that are known through another one: a multiple, an inverse, a power, a diagonal block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..trees import ParameterSpace
from .base import Operator
from .damping import check_damping, is_zero
from .spectral import powered

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class _Derived(Operator):
    """Of the shape, dtype and parameters of another operator; nothing of its own is stored."""

    structure: ClassVar[str] = "matrix-free"

    def __init__(self, of: Operator) -> None:
        self.of = of
        self.backend = of.backend
        self.space: ParameterSpace | None = of.space
        self.symmetric = of.symmetric

    @property
    def shape(self) -> tuple[int, int]:
        return self.of.shape

    @property
    def dtype(self) -> Any:
        return self.of.dtype

    @property
    def dense_limit(self) -> int:
        return self.of.dense_limit

    @abstractmethod
    def _with(self, of: Operator) -> Operator:
        """The same of another operator."""

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Operator:
        return self._with(self.of.map_arrays(function, backend))

    def _transpose(self) -> Operator:
        return self._with(self.of.T)


class Scaled(_Derived):
    """c · A."""

    def __init__(self, of: Operator, factor: Any) -> None:
        super().__init__(of)
        self.factor = factor

    def _with(self, of: Operator) -> Operator:
        return Scaled(of, self.factor)

    def _matmat(self, v: Array) -> Array:
        return self.of._matmat(v) * self.factor

    def scaled(self, factor: Any) -> Operator:
        return Scaled(self.of, self.factor * factor)


class Inverse(_Derived):
    """(A + damping·I)⁻¹, each product with it a ``solve``."""

    def __init__(self, of: Operator, damping: Any = 0.0) -> None:
        of._require_square("inverse")
        super().__init__(of)
        self.damping = check_damping(damping)

    def _with(self, of: Operator) -> Operator:
        return Inverse(of, self.damping)

    def _matmat(self, v: Array) -> Array:
        return self.of._solve(v, self.damping)

    def _solve(self, v: Array, damping: Any) -> Array:
        if is_zero(damping):
            return self.of._matmat(v) + self.damping * v
        return super()._solve(v, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        if is_zero(damping):
            return -self.of.logdet(self.damping)
        return super().logdet(damping)


class Power(_Derived):
    """(A + damping·I)^p of a symmetric A: each product is a function of A applied by Lanczos' method."""

    def __init__(self, of: Operator, p: float, damping: Any = 0.0) -> None:
        of._require_symmetric("power")
        super().__init__(of)
        self.p = float(p)
        self.damping = check_damping(damping)

    def _with(self, of: Operator) -> Operator:
        return Power(of, self.p, self.damping)

    def _matmat(self, v: Array) -> Array:
        from ..linalg import apply_function

        return apply_function(self.of, lambda values: powered(self.xp, values, self.p, self.damping), v)


class DiagonalBlock(_Derived):
    """Rows and columns start … stop - 1 of A, known by products of A."""

    def __init__(self, of: Operator, start: int, stop: int) -> None:
        super().__init__(of)
        self.start, self.stop = start, stop
        self.space = None

    @property
    def shape(self) -> tuple[int, int]:
        n = self.stop - self.start
        return (n, n)

    def _with(self, of: Operator) -> Operator:
        return DiagonalBlock(of, self.start, self.stop)

    def _matmat(self, v: Array) -> Array:
        xp, k = self.xp, v.shape[1]

        def zeros(rows: int) -> Array:
            return xp.zeros((rows, k), dtype=self.dtype, device=self._device)

        padded = xp.concat([zeros(self.start), v, zeros(self.of.shape[0] - self.stop)], axis=0)
        return self.of._matmat(padded)[self.start : self.stop, :]
