"""Functions of s·I + J̃ᵀ U diag(c) Uᵀ J̃, as pairs (s, c), from the eigenvalues λ of J̃ J̃ᵀ."""

from __future__ import annotations

from typing import Any

Array = Any
Pair = tuple[Any, Array]


def multiplied(values: Array, a: Pair, b: Pair) -> Pair:
    """The product: (s + cλ)(s' + c'λ) = s s' + (s c' + s' c + c c' λ) λ."""
    return a[0] * b[0], b[1] * a[0] + a[1] * b[0] + a[1] * b[1] * values


def powered(xp: Any, values: Array, weights: Array, base: Any, p: float, powers: Array) -> Pair:
    """(s, c) of the power p of base·I + J̃ᵀ U diag(c) Uᵀ J̃, for a p that it has.

    c' = ((s + cλ)^p - s^p) / λ is a difference of near numbers where λ is small, and λ itself is then rounding: what is
    used instead has no difference in it, and its limit is p c s^(p-1).

    Args:
        values: λ.
        weights: c.
        base: s.
        powers: (s + cλ)^p.
    """
    if p.is_integer():
        count = int(p)
        if count >= 0:
            return _whole(values, (base, weights), count)
        if not is_number(base, 0.0):
            inverse = (1.0 / base, -weights / ((weights * values + base) * base))
            return _whole(values, inverse, -count)
    elif not isinstance(base, (int, float)) or base > 0:
        relative = weights * values / base
        none = relative == 0
        safe = xp.where(none, xp.ones_like(relative), relative)
        quotient = xp.where(none, xp.zeros_like(relative) + p, xp.expm1(p * xp.log1p(safe)) / safe)
        return base**p, quotient * weights * base ** (p - 1)
    # s = 0, or no eigenvalue is s. Below n · eps · λ_max they cannot be told from zero.
    tiny = values[:1] * float(xp.finfo(values.dtype).eps) * int(values.shape[0])
    counts = values > tiny
    return 0.0, xp.where(counts, powers / xp.where(counts, values, xp.ones_like(values)), xp.zeros_like(values))


def _whole(values: Array, pair: Pair, count: int) -> Pair:
    """A whole power ≥ 0, by squaring."""
    result: Pair = (1.0, values * 0.0)
    while count:
        if count % 2:
            result = multiplied(values, result, pair)
        count //= 2
        if count:
            pair = multiplied(values, pair, pair)
    return result


def is_number(number: Any, value: float) -> bool:
    """Whether it is this very Python number (arrays may be traced)."""
    return isinstance(number, (int, float)) and number == value


def is_at_most(number: Any, bound: float) -> bool:
    """Whether it is a Python number no larger than ``bound``."""
    return isinstance(number, (int, float)) and number <= bound
