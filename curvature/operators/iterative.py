"""Operations that an operator's structure lacks and its size forbids to do densely: by products alone."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..errors import EstimatedWarning, ShapeError, UnsupportedError
from ..linalg import conjugate_gradient, diagonal, eigenpairs, frobenius_norm, logdet, spectral_norm, trace
from .lazy import DiagonalBlock, Inverse, Power

if TYPE_CHECKING:
    from .base import Operator

Array = Any


class Iterative:
    """The operations of one operator by its products. What is estimated says so, by which method and how well.

    Solves are conjugate gradients to a relative residual, powers Lanczos' method (both to working precision); trace, diagonal,
    log determinant and Frobenius norm are estimates from random probes (XTrace, XDiag, stochastic Lanczos quadrature), whose
    tolerance, seed and error bars ``curvature.linalg`` gives.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def _solve(self, v: Array, damping: Any) -> Array:
        operator = self._operator
        xp = operator.xp
        if not operator.symmetric:
            return self._normal_equations(v, damping)
        options: dict[str, Any] = {"damping": damping, "tolerance": getattr(operator, "tolerance", None)}
        preconditioner = operator.preconditioner(damping)
        if preconditioner is not None:
            options["preconditioner"] = preconditioner
        return conjugate_gradient(xp, operator._matmat, v, **options)

    def _normal_equations(self, v: Array, damping: Any) -> Array:
        """(Mᵀ M) x = Mᵀ v with M = A + damping·I."""
        operator = self._operator
        transposed = operator.T

        def forwards(x: Array) -> Array:
            return operator._matmat(x) + damping * x

        def backwards(x: Array) -> Array:
            return transposed._matmat(x) + damping * x

        return conjugate_gradient(operator.xp, lambda x: backwards(forwards(x)), backwards(v))

    def inverse(self, damping: Any) -> Operator:
        return Inverse(self._operator, damping)

    def power(self, p: float, damping: Any) -> Operator:
        return Power(self._operator, p, damping)

    def logdet(self, damping: Any) -> Array:
        self._operator._require_symmetric("logdet")
        return self._reported("logdet", logdet(self._operator, damping))

    def trace(self) -> Array:
        return self._reported("trace", trace(self._operator))

    def diagonal(self) -> Array:
        return self._reported("diagonal", diagonal(self._operator))

    def norm(self, order: str | int) -> Array:
        if order == "fro":
            return self._reported("norm", frobenius_norm(self._operator))
        if order == 2:
            return self._reported("norm", spectral_norm(self._operator))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigh(self, k: int | None) -> tuple[Array, Array]:
        operator = self._operator
        operator._require_symmetric("eigh")
        if k is None:
            n = operator.shape[0]
            raise UnsupportedError(
                f"all eigenvectors of a {type(operator).__name__} of shape {operator.shape} are a dense matrix of "
                f"{n * n * 8 / 1e9:.0f} GB; ask for the largest, eigh(k=20), or for their density, "
                f"curvature.linalg.spectral_density(A)"
            )
        pairs = eigenpairs(operator, k)
        return pairs.values, pairs.vectors

    def block(self, name: str) -> Operator:
        operator = self._operator
        if operator.space is None:
            raise ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = operator.space.index(name)
        return DiagonalBlock(operator, operator.space.offsets[index], operator.space.offsets[index + 1])

    def _transpose(self) -> Operator:
        kind = type(self._operator).__name__
        raise UnsupportedError(
            f"a {kind} of shape {self._operator.shape} gives no transpose, and is too large to be built; its author gives "
            f"_transpose"
        )

    def _reported(self, operation: str, estimate: Any) -> Any:
        """The value of an estimate, having said what it is."""
        operator = self._operator
        xp, dtype, device = operator.xp, operator.dtype, operator._device
        value, error = (xp.asarray(x, dtype=dtype, device=device) for x in (estimate.value, estimate.standard_error))
        size, spread = (float(xp.sqrt(xp.sum(x * x))) for x in (value, error))
        if spread > 0:
            relative = spread / size if size else float("inf")
            missed = "" if estimate.converged else f" (not the {estimate.tolerance:.1g} that was aimed at)"
            warnings.warn(
                f"{operation} of a {type(operator).__name__} of shape {operator.shape} is estimated by {estimate.method} from "
                f"{estimate.products} products, relative standard error {relative:.1g}{missed}; curvature.linalg has it to "
                f"another tolerance, with error bars",
                EstimatedWarning,
                stacklevel=4,
            )
        return value
