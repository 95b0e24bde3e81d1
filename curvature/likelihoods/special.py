"""Special functions that the Array API standard lacks, written with it: log Γ and its derivatives.

Each is a Stirling series at 10 and beyond, and is walked back to smaller arguments by the recurrence in steps of one. Both
branches are always evaluated, so each is given an argument at which it is finite: NaN would pass into gradients.

Source: Abramowitz and Stegun (1964), 6.1.41, 6.3.18, 6.4.12 and the recurrences 6.1.15, 6.3.5, 6.4.6.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import namespace

Array = Any

_STEPS = 10
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
"""B_2, B_4, …: what is left out is below 1e-16 from z = 10 on."""

_LOG_GAMMA = tuple(b / (2 * n * (2 * n - 1)) for n, b in enumerate(_BERNOULLI, 1))
_DIGAMMA = tuple(b / (2 * n) for n, b in enumerate(_BERNOULLI, 1))


def _odd_series(z: Array, coefficients: tuple[float, ...]) -> Array:
    """Σ_n c_n z^(1 - 2n)."""
    square = (1.0 / z) * (1.0 / z)
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total / z


def _replaced(x: Array, keep: Array, value: float) -> Array:
    """``x`` where it is kept and a harmless value elsewhere; derivatives go the same way."""
    xp = namespace(x)
    return xp.where(keep, x, xp.full_like(x, value))


def _walked(x: Array) -> tuple[Array, Array, Array]:
    """(whether x < 10, x there and 1 elsewhere, the argument of the series: x + 10 there and x elsewhere)."""
    xp = namespace(x)
    low = x < float(_STEPS)
    return low, _replaced(x, low, 1.0), xp.where(low, x + float(_STEPS), x)


def stirling_rest(z: Array) -> Array:
    """log Γ(z) - (z - ½) log z + z - ½ log 2π for z ≥ 10."""
    return _odd_series(z, _LOG_GAMMA)


def digamma_rest(z: Array) -> Array:
    """z (log z - ψ(z)) for z ≥ 10, near ½."""
    return 0.5 + _odd_series(z, _DIGAMMA)


def trigamma_rest(z: Array) -> Array:
    """z² ψ'(z) - z for z ≥ 10, near ½."""
    return 0.5 + _odd_series(z, _BERNOULLI)


def log_factorial(y: Array) -> Array:
    """log y! = log Γ(y + 1) for y ≥ 0, to rounding (absolutely, of terms of about 20, for y < 10)."""
    xp = namespace(y)
    low, small, z = _walked(y + 1.0)
    product = xp.ones_like(y)
    for k in range(_STEPS):
        product = product * (small + float(k))
    walked = xp.where(low, xp.log(product), xp.zeros_like(y))
    return (z - 0.5) * xp.log(z) - z + 0.5 * math.log(2 * math.pi) + stirling_rest(z) - walked


def digamma(x: Array) -> Array:
    """ψ(x) = d log Γ/dx for x > 0, to rounding (absolutely near its zero at 1.46)."""
    xp = namespace(x)
    low, small, z = _walked(x)
    walked = xp.zeros_like(x)
    for k in reversed(range(_STEPS)):
        walked = walked + 1.0 / (small + float(k))
    return xp.log(z) - digamma_rest(z) / z - xp.where(low, walked, xp.zeros_like(x))


def trigamma(x: Array) -> Array:
    """ψ'(x) = d² log Γ/dx² for x > 0, to rounding."""
    xp = namespace(x)
    low, small, z = _walked(x)
    walked = xp.zeros_like(x)
    for k in reversed(range(_STEPS)):
        inverse = 1.0 / (small + float(k))
        walked = walked + inverse * inverse
    return (1.0 + trigamma_rest(z) / z) / z + xp.where(low, walked, xp.zeros_like(x))
