"""Linear algebra of maps that are known by their products: estimates with their errors, eigenpairs, functions, solvers.

Every function takes a map ``A`` with ``backend``, ``shape``, ``dtype`` and ``_matmat``, the product with a matrix (n, K): any
``curvature.operators.Operator``. Products are taken many columns at a time. What is estimated is an ``Estimate``: a value
with its standard error, or the exact value where that takes no more products.
"""

from .conjugate_gradient import Solution, conjugate_gradient
from .density import Density, spectral_density
from .diagonal import diagonal
from .eigenpairs import Eigenpairs, eigenpairs
from .estimate import Estimate
from .functions import apply_function
from .map import Counted, LinearMap
from .norms import frobenius_norm, spectral_norm
from .nystrom import NystromPreconditioner, nystrom
from .progress import Progress
from .trace import trace
from .trace_of_function import logdet, trace_of_function

__all__ = [
    "Counted",
    "Density",
    "Eigenpairs",
    "Estimate",
    "LinearMap",
    "NystromPreconditioner",
    "Progress",
    "Solution",
    "apply_function",
    "conjugate_gradient",
    "diagonal",
    "eigenpairs",
    "frobenius_norm",
    "logdet",
    "nystrom",
    "spectral_density",
    "spectral_norm",
    "trace",
    "trace_of_function",
]
