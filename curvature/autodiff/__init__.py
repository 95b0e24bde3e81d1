"""Derivatives of functions written in the Array API, over any of its namespaces.

Forward mode carries tangents along (``jvp``); reverse mode records the evaluation (``vjp``, ``linearize``). They nest
to any order. Code to be differentiated takes its functions from ``xp = curvature.namespace(x)``, where x is an array
that depends on what is differentiated, and does not decide on values in Python.

Choices where there is no derivative: ``maximum(x, 0.0)`` has derivative 0 at 0 (a number takes all at a tie, two
arrays share equally), ``max`` and ``min`` share equally among the elements that attain them, ``abs`` has 0 at 0,
``clip`` has 1 at bounds that are numbers; ``std`` at equal elements, ``hypot`` and norms at zero have 0. ``pinv`` is
differentiated among matrices of one rank. Vectors of repeated eigenvalues or singular values have NaN (see ``spectral``).

Every function of the Array API standard is differentiable, or locally constant (``sign``, ``floor``, ``argmax``, ``argsort``,
``nonzero``, ``matrix_rank``, …), or refused by its name with ``DifferentiationError``: the Fourier transforms, ``eig`` and
whatever else is complex, and ``unique_*``, where the number of results depends on values.
"""

from .scatter import scatter_rows
from .traced import Traced, lift
from .transforms import gradient, hvp, jvp, jvp_and_pull, linearize, value_and_gradient, vjp

__all__ = [
    "Traced",
    "gradient",
    "hvp",
    "jvp",
    "jvp_and_pull",
    "lift",
    "linearize",
    "scatter_rows",
    "value_and_gradient",
    "vjp",
]
