"""Taking arrays from one backend to another, through the host."""

from __future__ import annotations

from typing import Any

from ..backend import Backend
from ..registry import backend as find_backend

Array = Any


def resolved(backend: str | Backend, device: Any, dtype: str | None) -> Backend:
    """The backend meant by a name, device and dtype; one that is given as such is taken as it is."""
    return find_backend(backend, device=device, dtype=dtype) if isinstance(backend, str) else backend


def moved(array: Array, source: Backend, target: Backend, dtype: str | None = None) -> Array:
    """An array on another backend: floating arrays in ``dtype`` (by default their own), others as they are.

    Raises:
        PrecisionError: if the target cannot hold the dtype.
    """
    values = source.to_numpy(array)
    return target.asarray(values, dtype=dtype if values.dtype.kind == "f" else None)
