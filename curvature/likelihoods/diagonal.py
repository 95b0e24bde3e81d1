"""Output factors of likelihoods whose outputs are independent of one another."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from .base import device_of

Array = Any


def diagonal_factor(roots: Array) -> Array:
    """S (N, C, C), S_n = diag(roots_n)."""
    xp = namespace(roots)
    identity = xp.eye(roots.shape[1], dtype=roots.dtype, device=device_of(roots))
    return roots[:, :, None] * identity[None, :, :]
