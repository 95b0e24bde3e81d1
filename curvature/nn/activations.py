"""Functions of each number, and of the numbers along an axis."""

from __future__ import annotations

import math
from typing import Any

from ..backend import namespace
from .kernels import kernel

Array = Any


def relu(x: Array) -> Array:
    """max(x, 0), with derivative 0 at 0 and NaN where x is NaN."""
    native = kernel("relu", x)
    if native is not None:
        return native(x)
    xp = namespace(x)
    return xp.where(x <= 0, xp.zeros_like(x), x)


def gelu(x: Array) -> Array:
    """x Φ(x) by its tanh approximation, ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), on every backend.

    The error function is not in the Array API; one formula everywhere means one model everywhere. The approximation is
    that of ``torch.nn.functional.gelu(x, approximate="tanh")`` and the default of ``jax.nn.gelu``.

    Source: Hendrycks and Gimpel (2016).
    """
    native = kernel("gelu", x)
    if native is not None:
        return native(x)
    return 0.5 * x * (1.0 + namespace(x).tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


def softmax(x: Array, *, axis: int = -1) -> Array:
    """exp(x) / Σ exp(x) along an axis, without overflow."""
    xp = namespace(x)
    weights = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return weights / xp.sum(weights, axis=axis, keepdims=True)


def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """x - log Σ exp(x) along an axis, without overflow or cancellation in the exponentials."""
    xp = namespace(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
