"""Approximations: open generic functions to which packages add methods."""

from .base import Approximation
from .certificate import Certificate
from .certify import certificate
from .cost import Cost, Detail, LayerLayout, Layout, layout_of
from .generic import approximate, as_method, build, built, estimate, gather, gather_all, structure_of
from .moving_average import MovingAverage

__all__ = [
    "Approximation",
    "Certificate",
    "Cost",
    "Detail",
    "LayerLayout",
    "Layout",
    "MovingAverage",
    "approximate",
    "as_method",
    "build",
    "built",
    "certificate",
    "estimate",
    "gather",
    "gather_all",
    "layout_of",
    "structure_of",
]
