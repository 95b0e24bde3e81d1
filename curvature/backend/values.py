"""Whether arrays have values, or only shapes because the caller's program is being compiled."""

from __future__ import annotations

from typing import Any

Array = Any


def has_values(x: Array) -> bool:
    """Whether what depends on the values of ``x`` can be decided in Python now.

    Inside a program that is being compiled (``jax.jit``) it cannot: what would be refused there gives NaN or infinity.
    """
    from ..registry import backend_of

    return not backend_of(x).is_abstract(x)
