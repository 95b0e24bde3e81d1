"""Norms of a map that is known by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from ..errors import ConvergenceError
from .adaptive import Sampler, allowance, check_tolerance, estimated
from .eigenpairs import PRODUCTS, Eigenpairs, found
from .estimate import Estimate
from .exact import identity_blocks
from .hutchinson import SquaredNorm
from .map import Counted, LinearMap
from .orthonormal import host
from .progress import Meter, Progress
from .xtrace import XNorm

Array = Any

METHODS: dict[str, Callable[[Counted, Any], Sampler]] = {"xtrace": XNorm, "hutchinson": SquaredNorm}


def frobenius_norm(
    A: LinearMap,
    *,
    method: Literal["xtrace", "hutchinson"] = "xtrace",
    tolerance: float = 0.01,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """‖A‖_F = (tr AᵀA)^½ of a map (m, n), estimated until its standard error is at most ``tolerance`` · value.

    ``hutchinson`` takes the mean of ‖Az‖² over random signs z; ``xtrace`` the leave-one-out estimator of Epperly, Tropp
    and Webber (2024) for tr AᵀA, with a sketch of A itself if that is symmetric; its error falls with the singular values.
    Both are unbiased for the square. Where it takes n products or more, n products give it exactly.

    Args:
        max_products: where to stop with ``converged=False``; by default 1000, or 4 n for n ≤ 1000. ``xtrace`` stops too
            where what it keeps (3/2 columns for each product) would take more than 4 GiB.
        seed: of the random probes; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        UnsupportedError: ``xtrace`` of a map that is not symmetric and has no ``T``.
        ValueError: if the method, tolerance or ``max_products`` cannot be.
        DataError: if a product is not finite.
        KeyboardInterrupt: with the estimate so far as its attribute ``partial``.
    """
    return estimated(
        A,
        "Frobenius norm",
        METHODS,
        _exact,
        method=method,
        tolerance=tolerance,
        max_products=max_products,
        seed=seed,
        progress=progress,
    )


def _exact(a: Counted) -> float:
    xp = a.backend.xp
    squares = [float(host(a.backend, xp.sum(image * image, axis=0)).sum()) for _, _, image in identity_blocks(a)]
    return math.sqrt(sum(squares))


def spectral_norm(
    A: LinearMap,
    *,
    tolerance: float = 1e-3,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """‖A‖₂, the largest singular value of a map (m, n), by the Lanczos method on A if it is symmetric, else on AᵀA.

    The value is a lower bound to rounding. ``standard_error`` is the distance within which a singular value is known to
    lie, from the norm of the residual: at most ``tolerance`` · value. (The error is nearer to its square over the gap.)

    Args:
        max_products: where to stop with ``converged=False``; by default 5000.
        seed: of the random start; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        UnsupportedError: of a map that is not symmetric and has no ``T``.
        ValueError: if the tolerance or ``max_products`` cannot be.
        DataError: if a product is not finite.
    """
    check_tolerance(tolerance)
    with Meter(progress) as meter:
        counted = Counted(A, meter, "spectral norm")
        if 0 in counted.shape:
            return Estimate(0.0, 0.0, 0, "exact", tolerance, True)
        symmetric = counted.symmetric
        squared = counted if symmetric else _Gram(counted)
        budget = allowance(max_products, squared.shape[0], PRODUCTS)
        try:
            # A residual r of AᵀA at σ² leaves σ within r / σ.
            pairs = found(squared, 1, "magnitude", "lanczos", tolerance, budget, seed, multiple=False)
        except ConvergenceError as error:
            partial: Eigenpairs | None = getattr(error, "partial", None)
            if partial is None:
                raise
            pairs = partial
    value, residual = abs(float(pairs.values[0])), float(pairs.residuals[0])
    if not symmetric:
        value = math.sqrt(value)
        residual = residual / value if value > 0 else math.sqrt(residual)
        value, residual = value * counted.unit, residual * counted.unit
    method = "exact" if pairs.method == "exact" else "lanczos"
    return Estimate(value, residual, counted.products, method, tolerance, residual <= tolerance * value)


class _Gram(Counted):
    """AᵀA, or AAᵀ where that is smaller, of a map that is counted."""

    def __init__(self, a: Counted) -> None:
        rows, columns = a.shape
        self._inner, self._wide = a, columns > rows
        self.backend, self.dtype, self.text, self.goal = a.backend, a.dtype, a.text, 0
        self.shape = (min(rows, columns), min(rows, columns))
        self.unit = 1.0  # the products of the inner map come in its unit already

    @property
    def symmetric(self) -> bool:
        return True

    @property
    def products(self) -> int:  # type: ignore[override]
        return self._inner.products

    def _matmat(self, v: Array) -> Array:
        a = self._inner
        return a._matmat(a.transposed(v)) if self._wide else a.transposed(a._matmat(v))
