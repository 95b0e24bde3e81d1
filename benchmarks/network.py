"""The network of the benchmark: 784-512-512-10, ReLU, batch 256, random data, float32."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import curvature as cv

SIZES = (784, 512, 512, 10)
BATCH = 256


def parameters(dtype: str = "float32") -> list[dict[str, Any]]:
    """He-initialised weights, stored (d_out, d_in) as PyTorch stores them."""
    rng = np.random.default_rng(0)
    return [
        {
            "weight": (rng.standard_normal((out, inp)) * (2 / inp) ** 0.5).astype(dtype),
            "bias": (0.01 * rng.standard_normal(out)).astype(dtype),
        }
        for inp, out in pairwise(SIZES)
    ]


def data(dtype: str = "float32") -> tuple[Any, Any]:
    """Inputs (256, 784) and labels (256,)."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((BATCH, SIZES[0])).astype(dtype), rng.integers(0, SIZES[-1], BATCH)


def apply(params: list[dict[str, Any]], x: Any) -> Any:
    """The network, in the Array API."""
    xp = cv.namespace(x)
    for index, layer in enumerate(params):
        x = x @ xp.matrix_transpose(layer["weight"]) + layer["bias"]
        if index < len(params) - 1:
            x = x * xp.astype(x > 0, x.dtype)  # gradient 0 at 0 on every backend, and fast
    return x
