"""The methods of this package, with their methods of ``curvature.estimate`` and ``curvature.build``."""

from .blocks import build, estimate, estimate_from_gradients
from .exact import Exact
from .options import BlockDiagonalMethod

__all__ = ["BlockDiagonalMethod", "Exact", "build", "estimate", "estimate_from_gradients"]
