"""NumPy for curvature: arrays by NumPy, derivatives by ``curvature.autodiff``."""

from __future__ import annotations

from array_api_compat import is_numpy_array

import curvature as cv
from curvature.backend import CAPABILITIES

_NATIVE = ("arrays", "float64")


@cv.hookimpl
def curvature_register_backends() -> list[cv.BackendSpec]:
    """NumPy."""
    return [
        cv.BackendSpec(
            "numpy",
            loader="curvature_numpy.backend:NumpyBackend",
            requires=("numpy",),
            owns=is_numpy_array,
            capabilities={name: cv.Claim(cv.Support.NATIVE if name in _NATIVE else cv.Support.DERIVED) for name in CAPABILITIES},
        )
    ]
