"""The diagonal of a curvature matrix: exact, or of a large Hessian to a tolerance."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature import linalg
from curvature.operators import Diagonal

from .costs import diagonal_cost

Array = Any

CHUNK = 2**24
"""About how many numbers a product may hold."""


@dataclass(frozen=True)
class DiagonalMethod(cv.Approximation):
    """The diagonal F_ii, the nearest diagonal matrix in the Frobenius norm.

    Of GGN, Fisher, Monte Carlo and empirical Fisher it is exact. For a dense layer it is Σ_n w_n a_n² (Σ_r g_nr²)ᵀ, so no
    gradient of a single example is formed (BackPACK: Dangel, Kunstner and Hennig 2020).

    A matrix that is known by its products alone, such as a Hessian, takes one product for each of the P columns. Above
    ``exact_below`` parameters it is estimated instead, and an ``EstimatedWarning`` says how well; the operator's
    ``standard_error`` (P,) is the error bar of each entry. Merged statistics have the weighted mean of their standard errors,
    an upper bound however the errors are correlated.

    Attributes:
        estimator: "xdiag" (Epperly, Tropp and Webber 2024) or "hutchinson" (Bekas, Kokiopoulou and Saad 2007), which stores
            no columns.
        tolerance: ‖standard error‖₂ / ‖diagonal‖₂ at which the estimate stops.
        exact_below: largest number of parameters for which all columns are taken.
        max_products: where the estimate stops anyway; None is 1000.
        seed: of the probes.
    """

    name: ClassVar[str] = "diagonal"
    estimator: Literal["xdiag", "hutchinson"] = "xdiag"
    tolerance: float = 0.05
    exact_below: int = 2000
    max_products: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.estimator not in ("xdiag", "hutchinson"):
            raise cv.DataError(f"diagonal: estimator is 'xdiag' or 'hutchinson', got {self.estimator!r}")
        if not (self.tolerance > 0 and isfinite(self.tolerance)):
            raise cv.DataError(f"diagonal: tolerance is a finite number > 0, got {self.tolerance}")
        if self.max_products is not None and self.max_products < 4:
            raise cv.DataError(f"diagonal: max_products is 4 or more, got {self.max_products}")

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return diagonal_cost(self, layout)


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: DiagonalMethod, backend: cv.Backend) -> Any:
    """{"diagonal": (P,)}, with {"standard_error": (P,)} where it is estimated."""
    if not matrix.matrix_free and type(matrix).diagonal is not cv.Operator.diagonal:  # the structure has it
        return {"diagonal": matrix.diagonal()}
    if matrix.shape[0] <= method.exact_below:
        return {"diagonal": _from_columns(matrix, backend)}
    found = linalg.diagonal(
        matrix,
        method=method.estimator,
        tolerance=method.tolerance,
        max_products=method.max_products,
        seed=method.seed,
    )
    if found.method != "exact":
        _warn(matrix, found, backend.xp)
    return {"diagonal": found.value, "standard_error": found.standard_error}


@cv.estimate.dispatch
def estimate_from_layers(matrix: cv.GaussNewtonMatrix, method: DiagonalMethod, backend: cv.Backend) -> Generator[Any, Any, Any]:
    """{"diagonal": (P,)} from squared gradients, layer by layer."""
    by_layer = yield matrix.squared_gradients
    partition = matrix.problem.structure.partition
    columns = (by_layer.pop(block.name)[:, None] for block in partition.blocks)  # none is held longer than it is needed
    return {"diagonal": partition.scatter(backend.xp, columns)[:, 0]}


@cv.build.dispatch
def build(method: DiagonalMethod, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The diagonal, with its error bars where it has any."""
    operator = Diagonal(statistics["diagonal"], backend=structure.backend, space=structure.space)
    operator.standard_error = statistics.get("standard_error")
    return operator


def _from_columns(matrix: cv.Operator, backend: cv.Backend) -> Array:
    """e_iᵀ A e_i, some columns of the identity at a time."""
    xp, size = backend.xp, matrix.shape[0]
    step = max(1, min(size, CHUNK // max(1, size)))
    numbers = xp.arange(size, device=backend.device)
    parts = []
    for start in range(0, size, step):
        columns = xp.astype(numbers[:, None] == numbers[None, start : min(start + step, size)], matrix.dtype)
        parts.append(xp.sum(columns * (matrix @ columns), axis=0))
    return xp.concat(parts) if parts else xp.zeros((0,), dtype=matrix.dtype, device=backend.device)


def _warn(matrix: cv.Operator, found: Any, xp: Any) -> None:
    size, spread = (float(xp.sqrt(xp.sum(x * x))) for x in (found.value, found.standard_error))
    relative = spread / size if size else float("inf")
    missed = "" if found.converged else f" (not the {found.tolerance:.1g} that was aimed at: raise max_products)"
    warnings.warn(
        f"the diagonal of a {type(matrix).__name__} of {matrix.shape[0]} parameters is estimated by {found.method} from "
        f"{found.products} products, relative standard error {relative:.1g}{missed}; it is exact for up to exact_below "
        f"parameters",
        cv.EstimatedWarning,
        stacklevel=2,
    )
