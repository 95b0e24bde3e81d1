"""The density of the eigenvalues of a symmetric map."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .adaptive import allowance, check_tolerance, keep
from .estimate import Estimate
from .exact import dense
from .map import Counted, LinearMap, require_symmetric
from .orthonormal import host
from .progress import Meter, Progress
from .quadrature import WIDTH, Rules, quadrature
from .samples import mean_and_error
from .trace_of_function import DENSE, FEW, STEPS

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any

RESOLUTION = 50
"""The default width of the broadening is the range of the spectrum divided by this."""

POINTS = 512
"""Points of the grid at least."""

LIMIT = 1_000_000
"""Points of the grid at most."""

MARGIN = 5.0
"""Widths by which the grid goes beyond the extreme eigenvalues."""


@dataclass(frozen=True)
class Density:
    """A spectral density φ(t) = (1/n) Σ_i g(t - λ_i), g the normal density of standard deviation ``width``: ∫ φ = 1.

    Attributes:
        grid, density, standard_error: (points,) each.
        nodes, weights: (p,) each: the eigenvalues that the probes saw (Ritz values) and their shares, which add up to 1.
        probe: (p,), the number of the probes that a node belongs to; all 0 where the eigenvalues are exact.
        width: standard deviation of the broadening.
        size: n.
        products, method, tolerance, converged, probes: see ``Estimate``; the tolerance is on ∫ standard_error.

    All arrays are NumPy's, in float64.
    """

    grid: Any
    density: Any
    standard_error: Any
    nodes: Any
    weights: Any
    probe: Any
    width: float
    size: int
    products: int
    method: str
    tolerance: float
    converged: bool
    probes: int

    def count(self, low: float = -math.inf, high: float = math.inf) -> Estimate:
        """How many eigenvalues lie in [low, high], without broadening; its standard error is that over the probes.

        The mass of a node counts where the node lies: within a band of eigenvalues, a bound is met to the distance of nodes.
        """
        if not low <= high:
            raise ValueError(f"an interval runs from low to high, got {low} and {high}")
        mass = np.where((self.nodes >= low) & (self.nodes <= high), self.weights, 0.0)
        if self.probes == 0:
            return Estimate(float(np.round(self.size * mass.sum())), 0.0, self.products, "exact", self.tolerance, True)
        shares = np.bincount(self.probe, weights=mass, minlength=self.probes) * self.probes
        value, error = mean_and_error(self.size * shares)
        return Estimate(value, error, self.products, self.method, self.tolerance, self.converged, self.probes)


def spectral_density(
    A: LinearMap,
    *,
    width: float | None = None,
    grid: Any = None,
    tolerance: float = 0.05,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Density:
    """The density of the eigenvalues of a symmetric map, by stochastic Lanczos quadrature (Lin, Saad and Yang 2016).

    Each probe has as many Lanczos steps as the broadened density needs to settle, and probes are doubled until the
    integral of its standard error is at most ``tolerance``. Where it takes n products or more and n ≤ 2000, the eigenvalues
    themselves are used ("exact").

    Args:
        width: standard deviation of the normal density that broadens each eigenvalue; by default 1/50 of the range of the
            spectrum. Half of it takes about twice the products.
        grid: the points (a vector of numbers); by default 512 or more, from five widths below the smallest eigenvalue to
            five above the largest.
        max_products: where to stop with ``converged=False``; by default 2000, or 4 n for n ≤ 2000.
        seed: of the random probes; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ShapeError, NotSymmetricError: if the map is not square, or not symmetric.
        ValueError: if the width, grid, tolerance or ``max_products`` cannot be, or n is 0.
        DataError: if a product is not finite.
        KeyboardInterrupt: with the density so far as its attribute ``partial``.
    """
    n = require_symmetric(A, "spectral_density")
    if n == 0:
        raise ValueError("an operator with no rows has no spectrum")
    if width is not None and not 0 < width < float("inf"):
        raise ValueError(f"width must be a finite number > 0, got {width}")
    check_tolerance(tolerance)
    points = None if grid is None else np.asarray(grid, dtype=np.float64)
    if points is not None and (points.ndim != 1 or points.size < 2 or not np.all(np.diff(points) > 0)):
        raise ValueError("a grid is a vector of two or more increasing numbers")
    budget = allowance(max_products, n, DENSE)
    if budget < min(n, 2 * WIDTH):
        raise ValueError(f"max_products must be {min(n, 2 * WIDTH)} or more for a spectral density, got {max_products}")
    with Meter(progress) as meter:
        return _density(Counted(A, meter, "spectral density"), width, points, tolerance, budget, seed)


def _density(a: Counted, width: float | None, points: Any, tolerance: float, budget: int, seed: int) -> Density:
    n, rng, goal = a.shape[0], a.backend.rng(seed), WIDTH
    rules: list[Rules] = []
    if n <= DENSE and n <= FEW * WIDTH and n <= budget:
        return _exact(a, width, points, tolerance)
    sigma, low, high = _broadening(a, rng, width, budget)
    marks = np.linspace(low - MARGIN * sigma, high + MARGIN * sigma, _points(low, high, sigma))

    def functional(nodes: Any, weights: Any) -> Any:
        return weights @ _normal(marks, nodes * a.unit, sigma)

    try:
        while True:
            wanted = a.products * goal // (WIDTH * len(rules)) if rules else 0
            if n <= DENSE and wanted >= n and a.products + n <= budget:
                return _exact(a, width, points, tolerance)
            a.goal = min(wanted, budget)
            while WIDTH * len(rules) < goal:
                left = budget - a.products
                if left < 2 * WIDTH and rules:
                    return _put_together(a, rules, sigma, points, tolerance)
                rules.append(_in_units(a, quadrature(a, rng, functional, tolerance=STEPS * tolerance, products=max(left, WIDTH))))
            density = _put_together(a, rules, sigma, points, tolerance)
            if density.converged or not all(rule.settled for rule in rules):
                return density
            goal *= 2
    except KeyboardInterrupt as interrupt:
        keep(interrupt, _put_together(a, rules, sigma, points, tolerance) if rules else None)
        raise


def _broadening(a: Counted, rng: Rng, width: float | None, budget: int) -> tuple[float, float, float]:
    """(width, smallest, largest eigenvalue), the extremes from a first Lanczos process to a percent of their distance."""

    def extremes(nodes: Any, weights: Any) -> Any:
        return np.asarray([[nodes[0], nodes[-1]]])

    nodes = quadrature(a, rng, extremes, tolerance=0.01, width=2, products=min(FEW * 4, budget // 4)).nodes * a.unit
    return _width(nodes, width), float(nodes[0]), float(nodes[-1])


def _width(values: Any, width: float | None) -> float:
    span, size = float(values[-1] - values[0]), float(np.max(np.abs(values)))
    if width is None:
        # Of a multiple of the identity the range is nothing but rounding.
        width = span / RESOLUTION if span > 1e-6 * size else (size or 1.0) / RESOLUTION
    return float(width)


def _points(low: float, high: float, sigma: float) -> int:
    count = max(POINTS, math.ceil(4 * ((high - low) / sigma + 2 * MARGIN)))
    if count > LIMIT:
        raise ValueError(f"a width of {sigma:.3g} for eigenvalues from {low:.3g} to {high:.3g} takes {count} points; widen it")
    return count


def _exact(a: Counted, width: float | None, points: Any, tolerance: float) -> Density:
    n = a.goal = a.shape[0]
    values = host(a.backend, a.backend.eigh(dense(a))[0]) * a.unit
    sigma = _width(values, width)
    rule = Rules(values, np.ones((1, n)), np.zeros((1, 1)), 0.0, True)
    return _put_together(a, [rule], sigma, points, tolerance, exact=True)


def _put_together(a: Counted, rules: list[Rules], sigma: float, points: Any, tolerance: float, *, exact: bool = False) -> Density:
    low, high = min(float(rule.nodes[0]) for rule in rules), max(float(rule.nodes[-1]) for rule in rules)
    if points is None:
        points = np.linspace(low - MARGIN * sigma, high + MARGIN * sigma, _points(low, high, sigma))
    n = a.shape[0]
    each = np.concatenate([rule.weights @ _normal(points, rule.nodes, sigma) for rule in rules]) / n
    probes = len(each)
    error = np.zeros(points.shape) if exact else np.std(each, axis=0, ddof=1) / math.sqrt(probes)
    settled = all(rule.settled for rule in rules)
    return Density(
        grid=points,
        density=np.mean(each, axis=0),
        standard_error=error,
        nodes=np.concatenate([np.tile(rule.nodes, len(rule.weights)) for rule in rules]),
        weights=np.concatenate([rule.weights.reshape(-1) for rule in rules]) / (n * probes),
        probe=np.repeat(np.arange(probes), [len(rule.nodes) for rule in rules for _ in rule.weights]),
        width=sigma,
        size=n,
        products=a.products,
        method="exact" if exact else "stochastic Lanczos quadrature",
        tolerance=tolerance,
        converged=settled and float(np.trapezoid(error, points)) <= tolerance,
        probes=0 if exact else probes,
    )


def _in_units(a: Counted, rules: Rules) -> Rules:
    return replace(rules, nodes=rules.nodes * a.unit)


def _normal(points: Any, nodes: Any, sigma: float) -> Any:
    """g(points - nodes): (nodes, points)."""
    distance = (points[None, :] - nodes[:, None]) / sigma
    return np.exp(-0.5 * distance * distance) / (sigma * math.sqrt(2 * math.pi))
