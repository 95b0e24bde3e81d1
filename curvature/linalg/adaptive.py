"""Samples, doubled until the standard error is as small as was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .estimate import Estimate
from .map import Counted, LinearMap
from .progress import Meter, Progress

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any

PRODUCTS = 1000
"""How many products an estimate may take where nobody says."""


class Sampler(Protocol):
    """An estimator that can be given more probes."""

    @property
    def method(self) -> str:
        """Its name."""

    @property
    def start(self) -> int:
        """Probes to begin with."""

    @property
    def cost(self) -> int:
        """Products for each probe."""

    @property
    def limit(self) -> int:
        """The largest number of probes that its memory holds."""

    @property
    def probes(self) -> int:
        """How many there are."""

    def grow(self, count: int) -> None:
        """``count`` more; an interruption leaves it as it was."""

    def result(self) -> tuple[Any, Any]:
        """(value, standard error), each a Python float or a vector."""


def estimated(
    A: LinearMap,
    what: str,
    methods: Mapping[str, Callable[[Counted, Rng], Sampler]],
    exact: Callable[[Counted], Any],
    *,
    method: str,
    tolerance: float,
    max_products: int | None,
    seed: int,
    progress: Progress,
) -> Estimate:
    """``what`` of a map by one of the ``methods``; see ``adapt``.

    Raises:
        ValueError: if the method, tolerance or ``max_products`` cannot be.
    """
    if method not in methods:
        raise ValueError(f"the methods of the {what} are {', '.join(methods)}; got {method!r}")
    with Meter(progress) as meter:
        counted = Counted(A, meter, what)
        sampler = methods[method](counted, A.backend.rng(seed))
        return adapt(counted, sampler, lambda: exact(counted), tolerance=tolerance, max_products=max_products)


def adapt(a: Counted, sampler: Sampler, exact: Callable[[], Any], *, tolerance: float, max_products: int | None) -> Estimate:
    """Double the probes until standard error ≤ tolerance · |value|, or ``max_products`` are spent.

    Where the next probes would bring the products to n, or n columns are one product, n products give the exact value
    instead (``exact``). On ``KeyboardInterrupt`` the exception carries what was reached as ``error.partial``, an
    ``Estimate`` (None before there are two probes).

    Raises:
        ValueError: if the tolerance or ``max_products`` cannot be.
    """
    check_tolerance(tolerance)
    n = a.shape[1]
    budget = allowance(max_products, n)
    least = min(2 * sampler.cost, n)
    if budget < least:
        raise ValueError(f"max_products must be {least} or more for {a.text} by {sampler.method}, got {max_products}")
    goal = sampler.start
    try:
        while True:
            wanted = a.products + (goal - sampler.probes) * sampler.cost
            if n <= max(wanted, a.columns) and a.products + n <= budget:
                a.goal = a.products + n
                value = exact() * a.unit
                return Estimate(value, value * 0.0, a.products, "exact", tolerance, True)
            affordable = sampler.probes + (budget - a.products) // sampler.cost
            goal = min(goal, affordable, max(sampler.limit, 2))
            a.goal = a.products + (goal - sampler.probes) * sampler.cost
            while sampler.probes < goal:
                sampler.grow(min(goal - sampler.probes, a.columns))
            estimate = _estimate(a, sampler, tolerance)
            if estimate.converged or goal == min(affordable, max(sampler.limit, 2)):
                return estimate
            goal *= 2
    except KeyboardInterrupt as interrupt:
        keep(interrupt, _estimate(a, sampler, tolerance) if sampler.probes > 1 else None)
        raise


def keep(interrupt: KeyboardInterrupt, partial: Any) -> None:
    """Attach to an interruption what was reached until then."""
    interrupt.partial = partial  # type: ignore[attr-defined]
    if partial is not None:
        interrupt.add_note("What was reached until then is the attribute 'partial' of this exception (sys.last_value.partial).")


def check_tolerance(tolerance: float) -> None:
    """Refuse what is no positive finite number."""
    if not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance must be a finite number > 0, got {tolerance}")


def allowance(max_products: int | None, n: int, default: int = PRODUCTS) -> int:
    """The number of products that may be spent: by default ``default``, or enough for the exact value of a small map."""
    if max_products is None:
        return max(default, 4 * n) if n <= default else default
    if isinstance(max_products, bool) or not isinstance(max_products, int) or max_products < 1:
        raise ValueError(f"max_products must be a whole number ≥ 1, got {max_products!r}")
    return max_products


def _estimate(a: Counted, sampler: Sampler, tolerance: float) -> Estimate:
    value, error = sampler.result()
    converged = _size(a, error) <= tolerance * _size(a, value)
    return Estimate(value * a.unit, error * a.unit, a.products, sampler.method, tolerance, converged, sampler.probes)


def _size(a: Counted, value: Any) -> float:
    if isinstance(value, float):
        return abs(value)
    xp = a.backend.xp
    return float(xp.sqrt(xp.sum(value * value)))
