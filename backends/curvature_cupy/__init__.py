"""CuPy for curvature: arrays on NVIDIA GPUs, derivatives by ``curvature.autodiff``."""

from __future__ import annotations

from importlib import import_module

from array_api_compat import is_cupy_array

import curvature as cv

_AUTODIFF = "CuPy has no derivatives: those of curvature.autodiff"
CLAIMS = {
    "arrays": cv.Claim(cv.Support.NATIVE),
    "vjp": cv.Claim(cv.Support.DERIVED, _AUTODIFF),
    "jvp": cv.Claim(cv.Support.DERIVED, _AUTODIFF),
    "linearize": cv.Claim(cv.Support.DERIVED, _AUTODIFF),
    "hvp": cv.Claim(cv.Support.DERIVED, _AUTODIFF),
    "vmap": cv.Claim(cv.Support.DERIVED, "a loop over the leading axis"),
    "jit": cv.Claim(cv.Support.DERIVED, "the function itself: cupy.fuse takes elementwise functions only"),
    "parameter_uses": cv.Claim(cv.Support.DERIVED, "from the trace of curvature.autodiff"),
    "float64": cv.Claim(cv.Support.NATIVE),
}
"""What the backend claims; it holds for every device."""


@cv.hookimpl
def curvature_register_backends() -> list[cv.BackendSpec]:
    """CuPy."""
    return [
        cv.BackendSpec(
            "cupy",
            loader="curvature_cupy.backend:CupyBackend",
            requires=("cupy",),
            extra="cupy",
            owns=is_cupy_array,
            probe="curvature_cupy:why_not",
            capabilities=CLAIMS,
        )
    ]


def why_not() -> str | None:
    """Why an installed CuPy cannot be used here, or None: a wheel may be there without a driver, a GPU or CUDA's libraries."""
    try:
        import cupy

        version = tuple(int(part) for part in cupy.__version__.split(".")[:2])
        if version < (13, 6):
            return f"cupy {cupy.__version__} is too old, 13.6 or later is needed"
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy sees no CUDA device (is CUDA_VISIBLE_DEVICES empty?)"
        import_module("cupyx.scipy.linalg")  # loads cuBLAS

        one = cupy.ones((1, 1))
        (one @ one + one).item()  # compiles and runs a kernel: a device may be there and its toolkit not
    except (ImportError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).strip()}"
    return None
