"""Traces of functions of a symmetric map, its log-determinant first of all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError, NotPositiveDefiniteError, SingularMatrixError
from .adaptive import allowance, check_tolerance, keep
from .estimate import Estimate
from .exact import dense
from .map import Counted, LinearMap, require_symmetric
from .orthonormal import host
from .progress import Meter, Progress
from .quadrature import WIDTH, quadrature
from .samples import mean_and_error

Array = Any

STEPS = 0.1
"""Share of the tolerance that the quadrature may be off by."""

DENSE = 2000
"""Largest n for which the eigenvalues are had from the matrix, where that takes fewer products."""

FEW = 20
"""Steps that a Lanczos process is expected to take at least: n products are fewer for n ≤ FEW · WIDTH."""


def trace_of_function(
    A: LinearMap,
    f: Callable[[Array], Array],
    *,
    tolerance: float = 0.01,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """tr f(A) = Σ f(λ) of a symmetric map, by stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).

    Probes are doubled until the standard error is at most ``tolerance`` · |value|; each has as many Lanczos steps as it
    takes until its value changes by less than a tenth of that, and the standard error includes that change. Where it takes
    n products or more and n ≤ 2000, the eigenvalues themselves are used ("exact"; standard error 0). The value is a float.

    Args:
        f: a function of arrays of eigenvalues, entry by entry. Rounding leaves zero eigenvalues slightly negative.
        max_products: where to stop with ``converged=False``; by default 2000, or 4 n for n ≤ 2000.
        seed: of the random probes; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ShapeError, NotSymmetricError: if the map is not square, or not symmetric.
        ValueError: if the tolerance or ``max_products`` cannot be.
        DataError: if a product, or f of an eigenvalue, is not finite.
        KeyboardInterrupt: with the estimate so far as its attribute ``partial``.
    """
    require_symmetric(A, "trace_of_function")
    with Meter(progress) as meter:
        counted = Counted(A, meter, "trace of a function")
        return _estimated(counted, f, lambda nodes: None, tolerance, max_products, seed)


def logdet(
    A: LinearMap,
    damping: float = 0.0,
    *,
    tolerance: float = 0.01,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """log det(A + damping·I) of a positive definite map, by stochastic Lanczos quadrature: ``trace_of_function`` of log.

    Raises:
        NotPositiveDefiniteError: on meeting a negative Ritz value: then A + damping·I has a negative eigenvalue.
        SingularMatrixError: on meeting one that is zero to rounding; names a damping that would do.
        ValueError: if the damping is no finite number ≥ 0.
        ShapeError, NotSymmetricError, DataError, KeyboardInterrupt: see ``trace_of_function``.
    """
    n = require_symmetric(A, "logdet")
    shift, xp = float(damping), A.backend.xp
    if not 0 <= shift < float("inf"):
        raise ValueError(f"damping must be a finite number ≥ 0, got {damping}")
    eps = float(xp.finfo(A.dtype).eps)
    with Meter(progress) as meter:
        counted = Counted(A, meter, "logdet")
        return _estimated(
            counted,
            lambda values: xp.log(values + shift),
            lambda nodes: _require_positive(nodes + shift, eps * max(10.0, n**0.5)),
            tolerance,
            max_products,
            seed,
        )


def _require_positive(shifted: Any, relative: float) -> None:
    """Raise unless all of the (damped) Ritz values are positive to working precision, √n · eps of the largest."""
    smallest, largest = float(np.min(shifted, initial=np.inf)), float(np.max(np.abs(shifted), initial=0.0))
    tiny = relative * largest
    if smallest < -tiny:
        raise NotPositiveDefiniteError(
            f"logdet needs a positive definite operator; it has an eigenvalue of {smallest:.3g} or less; a damping above "
            f"{-smallest:.3g} more may do"
        )
    if smallest <= tiny:
        raise SingularMatrixError(
            f"logdet of an operator that is singular to working precision (an eigenvalue of {smallest:.3g}, the largest "
            f"{largest:.3g}); a damping of {max(1e3 * tiny, 1e-30):.1g} or more would do"
        )


def evaluated(a: Counted, f: Callable[[Array], Array], nodes: Any) -> Any:
    """f of eigenvalues (in units of ``a.unit``) on the host.

    Raises:
        DataError: naming an eigenvalue where f is not finite.
    """
    nodes = nodes * a.unit
    values = host(a.backend, f(a.backend.asarray(nodes, dtype=a.dtype)))
    if values.shape != nodes.shape:
        raise DataError(f"the function of eigenvalues gave shape {values.shape} of {nodes.shape}; it works entry by entry")
    bad = ~np.isfinite(values)
    if np.any(bad):
        raise DataError(
            f"the function of eigenvalues is {values[bad][0]} at {nodes[bad][0]:.6g}; rounding may leave zero eigenvalues "
            "slightly negative, which it must bear"
        )
    return values


def _estimated(
    a: Counted,
    f: Callable[[Array], Array],
    check: Callable[[Any], None],
    tolerance: float,
    max_products: int | None,
    seed: int,
) -> Estimate:
    check_tolerance(tolerance)
    n = a.shape[1]
    budget = allowance(max_products, n, DENSE)
    if budget < min(n, 2 * WIDTH):
        raise ValueError(f"max_products must be {min(n, 2 * WIDTH)} or more for {a.text}, got {max_products}")
    rng, goal = a.backend.rng(seed), WIDTH
    samples, change, settled = np.zeros(0), 0.0, True

    def functional(nodes: Any, weights: Any) -> Any:
        return weights @ evaluated(a, f, nodes)

    try:
        while True:
            spent = a.products
            wanted = spent * goal // len(samples) if len(samples) else FEW * WIDTH
            if n <= DENSE and wanted >= n and spent + n <= budget:
                a.goal = spent + n
                return _exact(a, f, check, tolerance)
            a.goal = min(wanted, budget)
            while len(samples) < goal:
                left = budget - a.products
                if left < 2 * WIDTH and len(samples):
                    return _result(a, samples, change, settled, tolerance)
                rules = quadrature(
                    a,
                    rng,
                    functional,
                    tolerance=STEPS * tolerance,
                    width=min(WIDTH, n),
                    products=left,
                    ready=lambda nodes, weights: check(nodes * a.unit),
                )
                samples = np.concatenate([samples, rules.values])
                change, settled = max(change, rules.change), settled and rules.settled
            estimate = _result(a, samples, change, settled, tolerance)
            if estimate.converged or not settled:
                return estimate
            goal *= 2
    except KeyboardInterrupt as interrupt:
        keep(interrupt, _result(a, samples, change, False, tolerance) if len(samples) > 1 else None)
        raise


def _exact(a: Counted, f: Callable[[Array], Array], check: Callable[[Any], None], tolerance: float) -> Estimate:
    values = host(a.backend, a.backend.eigh(dense(a))[0]) if a.shape[0] else np.zeros(0)
    check(values * a.unit)
    value = float(np.sum(evaluated(a, f, values)))
    return Estimate(value, 0.0, a.products, "exact", tolerance, True)


def _result(a: Counted, samples: Any, change: float, settled: bool, tolerance: float) -> Estimate:
    value, spread = mean_and_error(samples)
    error = math.hypot(spread, change)
    converged = settled and error <= tolerance * abs(value)
    return Estimate(value, error, a.products, "stochastic Lanczos quadrature", tolerance, converged, len(samples))
