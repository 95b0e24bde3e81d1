"""The trace of a map that is known by its products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from .adaptive import Sampler, estimated
from .estimate import Estimate
from .exact import exact_diagonal
from .hutchinson import Hutchinson
from .hutchpp import HutchPlusPlus
from .map import Counted, LinearMap, require_square
from .orthonormal import host
from .progress import Progress
from .xtrace import XTrace

Array = Any

METHODS: dict[str, Callable[[Counted, Any], Sampler]] = {"xtrace": XTrace, "hutch++": HutchPlusPlus, "hutchinson": Hutchinson}


def trace(
    A: LinearMap,
    *,
    method: Literal["xtrace", "hutch++", "hutchinson"] = "xtrace",
    tolerance: float = 0.01,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """tr A of a square map (n, n), estimated until its standard error is at most ``tolerance`` · |value|.

    ============== =============================================== ============================================
    method         source                                          error at m products
    ============== =============================================== ============================================
    ``xtrace``     Epperly, Tropp and Webber (2024)                falls with the eigenvalues, and as m^(-1/2)
    ``hutch++``    Meyer, Musco, Musco and Woodruff (2021)         at most ~1/m of a positive semidefinite map
    ``hutchinson`` Hutchinson (1989)                               m^(-1/2); stores no columns
    ============== =============================================== ============================================

    Where that takes n products or more, n products give it exactly ("exact"; standard error 0). The value is a float.

    Args:
        max_products: where to stop with ``converged=False``; by default 1000, or 4 n for n ≤ 1000. ``xtrace`` and
            ``hutch++`` stop too where what they keep (3/2 columns for each product) would take more than 4 GiB.
        seed: of the random probes; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ShapeError: if the map is not square.
        ValueError: if the method, tolerance or ``max_products`` cannot be.
        DataError: if a product is not finite.
        KeyboardInterrupt: with the estimate so far as its attribute ``partial``.
    """
    require_square(A, "trace")
    return estimated(
        A,
        "trace",
        METHODS,
        exact_trace,
        method=method,
        tolerance=tolerance,
        max_products=max_products,
        seed=seed,
        progress=progress,
    )


def exact_trace(a: Counted) -> float:
    """By n products; the sum is taken in float64."""
    return float(host(a.backend, exact_diagonal(a)).sum())
