"""The backend: the namespace as it is.

The library has arrays and the functions of the Array API standard, and knows nothing of derivatives or models: those come from
the core. It overrides nothing, so what it claims is what ``curvature.ArrayBackend`` claims.
"""

import array_api_strict

import curvature as cv


class Strict(cv.ArrayBackend):
    def __init__(self, device=None, dtype=None):
        super().__init__("strict", array_api_strict, device=device, dtype=dtype)
