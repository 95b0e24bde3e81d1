"""Normalisation of each example on its own."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..errors import ShapeError
from .checks import require_vector

Array = Any


def layer_norm(x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5) -> Array:
    """w (x - mean) / √(variance + ε) + b, mean and (biased) variance taken over the last axis.

    Args:
        x: (…, d).
        weight, bias: w and b, (d,); None for ones and zeros.

    Raises:
        ShapeError: the shapes do not fit.
        MixedBackendError: arrays of two libraries.

    Source: Ba, Kiros and Hinton (2016).
    """
    xp = namespace(x, weight, bias)
    if len(x.shape) == 0 or x.shape[-1] == 0:
        raise ShapeError(f"layer_norm: the input has shape {tuple(x.shape)}; there is nothing along a last axis to normalise")
    d = x.shape[-1]
    require_vector(weight, d, "layer_norm: the weight")
    require_vector(bias, d, "layer_norm: the bias")
    deviation = x - xp.mean(x, axis=-1, keepdims=True)
    y = deviation / xp.sqrt(xp.mean(deviation * deviation, axis=-1, keepdims=True) + eps)
    y = y if weight is None else xp.multiply(y, weight)
    return y if bias is None else xp.add(y, bias)
