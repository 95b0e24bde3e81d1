"""The damping: one number that is added to every eigenvalue."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..autodiff import Traced
from ..backend.values import has_values
from ..errors import ShapeError


def check_damping(damping: Any) -> Any:
    """The damping as a Python number (a NumPy scalar would promote float32 arrays); one that is traced passes as it is.

    Raises:
        ShapeError: if it is an array of more than one number.
        ValueError: if it is no finite number ≥ 0.
    """
    if isinstance(damping, Traced):
        return damping
    if not isinstance(damping, Real):
        if getattr(damping, "shape", None) != ():
            raise ShapeError(f"damping is one number, got {damping!r}; add operators.Diagonal(...) for one for each parameter")
        if not has_values(damping):
            return damping
        damping = float(damping)
    if not (math.isfinite(damping) and damping >= 0):
        raise ValueError(f"damping must be a finite number ≥ 0, got {damping}")
    return float(damping)


def is_zero(number: Any) -> bool:
    """Whether it is the Python number 0: of an array that is not known while a program is being compiled."""
    return isinstance(number, (int, float)) and number == 0
