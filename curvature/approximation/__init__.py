"""Approximations: open generic functions to which packages add methods."""

from .base import Approximation
from .generic import approximate, as_method, build, estimate, gather

__all__ = ["Approximation", "approximate", "as_method", "build", "estimate", "gather"]
