"""The CuPy backend: what CuPy has and the standard lacks; everything else is the core's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import array_api_compat.cupy as xp
import cupy
import cupyx
import cupyx.scipy.linalg
import numpy as np
from array_api_compat import is_cupy_array

import curvature as cv

from . import CLAIMS
from .devices import cuda_device, require_current

Array = Any


class CupyBackend(cv.ArrayBackend):
    """CuPy on one CUDA device.

    CuPy computes on the current device (``cupy.cuda.Device``), wherever arrays lie. Use the backend while its device is
    the current one.

    Args:
        device: "cuda" (the current device), "cuda:1", 1 or a ``cupy.cuda.Device``; None leaves arrays where they are and
            makes new ones on the current device.
        dtype: name of the floating dtype that ``asarray`` gives to floating values, or None to keep theirs.

    Raises:
        BackendUnavailableError: there is no such device.
        UnsupportedError: it is no CUDA device, or not the current one.
        PrecisionError: there is no such dtype.
    """

    capabilities = CLAIMS
    columns_at_once = 32

    def __init__(self, device: Any = None, dtype: str | None = None) -> None:
        place = cuda_device(device)
        if place is not None:
            require_current(place)
        super().__init__("cupy", xp, device=place, dtype=dtype)

    # Arrays -----------------------------------------------------------------------------------------

    def asarray(self, x: Any, dtype: Any = None, device: Any = None) -> Array:
        place = self.device if device is None else cuda_device(device)
        with nullcontext() if place is None else place:  # CuPy makes arrays on the current device, whatever device= says
            if place is not None and is_cupy_array(x):
                x = cupy.asarray(x)  # moved before it is converted
            return super().asarray(x, dtype=dtype, device=place)

    def to_numpy(self, x: Array) -> Any:
        return cupy.asnumpy(x) if is_cupy_array(x) else super().to_numpy(x)

    def synchronize(self) -> None:
        place = cupy.cuda.Device() if self.device is None else self.device
        place.synchronize()

    def memory(self) -> int | None:
        """Bytes in use of CuPy's memory pool on the device."""
        with nullcontext() if self.device is None else self.device:
            return int(cupy.get_default_memory_pool().used_bytes())

    # Linear algebra: without errstate CuPy does not look at the status that cuSOLVER gives, and failures pass unsaid -----

    def cholesky(self, a: Array) -> tuple[Array, bool]:
        with cupyx.errstate(linalg="raise"):
            return super().cholesky(a)

    def eigh(self, a: Array) -> tuple[Array, Array]:
        if not bool(cupy.isfinite(a).all()):
            raise cv.ConvergenceError(f"a {tuple(a.shape)} matrix with entries that are not finite has no eigenvalues")
        try:
            with cupyx.errstate(linalg="raise"):
                return super().eigh(a)
        except np.linalg.LinAlgError as error:
            raise cv.ConvergenceError(f"the eigendecomposition of a {tuple(a.shape)} matrix failed: {error}") from error

    def solve_triangular(self, a: Array, b: Array, *, lower: bool = True, transposed: bool = False) -> Array:
        if a.ndim > 2:  # stacks only since CuPy 14
            return super().solve_triangular(a, b, lower=lower, transposed=transposed)
        if b.size == 0:
            return cupy.zeros_like(b)
        solved = cupyx.scipy.linalg.solve_triangular(a, b, trans="T" if transposed else "N", lower=lower)
        return cupy.ascontiguousarray(solved)
