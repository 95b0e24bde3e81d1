"""NumPy as a backend: a bare namespace, with derivatives by ``curvature.autodiff``."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp

import curvature as cv


class NumpyBackend(cv.ArrayBackend):
    """Arrays of NumPy, on the CPU."""

    def __init__(self, device: Any = None, dtype: str | None = None) -> None:
        if device not in (None, "cpu"):
            raise cv.UnsupportedError(f"NumPy has no device {device!r}, only 'cpu'; use cv.backend('torch', device=...)")
        super().__init__("numpy", xp, device=device, dtype=dtype)
