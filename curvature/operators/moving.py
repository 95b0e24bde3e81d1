"""Arrays carried from one backend to another through the host, exact to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, PrecisionError

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""Names of the floating dtypes that can be carried."""

PORTABLE = (*FLOATING, "bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
"""Names of all dtypes that can be carried: they mean the same bits in every library that has them."""


def dtype_name(dtype: Any) -> str:
    """The name that all libraries share: ``float32`` for ``torch.float32``, ``numpy.dtype("float32")``, …"""
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def destination(backend: str | Backend, device: Any = None, dtype: str | None = None) -> Backend:
    """The backend that is meant by a name (on ``device``) or by itself.

    Raises:
        DataError: if ``dtype`` names no floating dtype, or a backend that has a device of its own is given another.
        UnknownBackendError, BackendUnavailableError: as ``curvature.backend`` does.
    """
    from ..registry import backend as find_backend

    if dtype is not None and dtype not in FLOATING:
        raise DataError(f"dtype is the name of a floating dtype ({', '.join(FLOATING)}), got {dtype!r}")
    if isinstance(backend, str):
        return find_backend(backend, device=device, dtype=dtype)
    if device is not None and str(device) != str(backend.device):
        raise DataError(
            f"{backend!r} has a device of its own; give the device to it, curvature.backend({backend.name!r}, device=...), "
            "or give its name instead of itself"
        )
    return backend


def to_host(backend: Backend, array: Array) -> tuple[Any, str]:
    """(values as a NumPy array, name of their dtype). NumPy has no bfloat16: its values come as float32, which holds them.

    Raises:
        PrecisionError: for a dtype that not all libraries mean alike.
    """
    name = dtype_name(array.dtype)
    if name not in PORTABLE:
        remedy = "keep its real and its imaginary part" if name.startswith("complex") else "convert it to float32 first"
        raise PrecisionError(f"an array of {name} cannot be carried to other libraries; {remedy}")
    if name == "bfloat16":
        array = backend.xp.astype(array, backend.xp.float32)
    return np.asarray(backend.to_numpy(array)), name


def from_host(target: Backend, values: Array, name: str, dtype: str | None = None) -> Array:
    """An array of ``target`` from what ``to_host`` gave. Floating values become ``dtype``, or else the target's dtype, or
    else keep theirs; others keep theirs.

    Raises:
        PrecisionError: if the target lacks the dtype.
    """
    wanted = (dtype or target.dtype or name) if name in FLOATING else name
    if not hasattr(target.xp, wanted):
        remedy = "; ask for one that it has, for example dtype='float32'" if name in FLOATING else ""
        raise PrecisionError(f"backend {target.name!r} has no {wanted}{remedy}")
    array = target.asarray(values, dtype=wanted)
    if dtype_name(array.dtype) != wanted:
        raise PrecisionError(
            f"backend {target.name!r} gave {dtype_name(array.dtype)} where {wanted} was asked for; ask for a dtype that it has, "
            "for example dtype='float32'"
        )
    return array


def carry(array: Array, source: Backend, target: Backend, dtype: str | None = None) -> Array:
    """``array`` of ``source`` as an array of ``target``: see ``from_host``.

    Within one library and to a device that is known it need not pass through the host.
    """
    if target.device is not None and target.owns(array):
        return from_host(target, array, dtype_name(array.dtype), dtype)
    return from_host(target, *to_host(source, array), dtype)
