"""Approximations: open generic functions to which packages add methods."""

from .base import Approximation
from .generic import approximate, as_method, build, built, estimate, gather, gather_all, structure_of
from .moving_average import MovingAverage

__all__ = [
    "Approximation",
    "MovingAverage",
    "approximate",
    "as_method",
    "build",
    "built",
    "estimate",
    "gather",
    "gather_all",
    "structure_of",
]
