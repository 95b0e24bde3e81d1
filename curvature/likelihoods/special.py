"""Special functions that the Array API standard lacks."""

from __future__ import annotations

import math
from typing import Any

from ..backend import namespace

Array = Any


def log_factorial(y: Array) -> Array:
    """log y! = log Γ(y + 1) for y ≥ 0, to rounding: Stirling's series at y + 9, walked back by the recurrence.

    Source: Abramowitz and Stegun (1964), 6.1.41.
    """
    xp = namespace(y)
    z = y + 9.0
    product = xp.ones_like(y)
    for k in range(1, 9):
        product = product * (y + float(k))
    inverse = 1.0 / z
    square = inverse * inverse
    series = inverse * (
        1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square * (1 / 1188 - square * (691 / 360360)))))
    )
    return (z - 0.5) * xp.log(z) - z + 0.5 * math.log(2 * math.pi) + series - xp.log(product)
