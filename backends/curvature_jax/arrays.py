"""Making JAX arrays from numbers, lists, NumPy arrays and JAX arrays, on a device and in a dtype that exist."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import curvature as cv

Array = Any

ENABLE = 'call jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1'


def usable_device(device: Any) -> Any:
    """The device meant by a name ("cpu", "cuda:1"), a ``jax.Device`` or a sharding; None stays None.

    Raises:
        BackendUnavailableError: this installation or machine does not have it.
    """
    if device is None or isinstance(device, (jax.Device, jax.sharding.Sharding)):
        return device
    if not isinstance(device, str):
        raise cv.BackendUnavailableError(f"a device of JAX is a name like 'cuda:0' or a jax.Device, got {device!r}")
    platform, _, number = device.partition(":")
    if number and not number.isdigit():
        raise cv.BackendUnavailableError(f"a device of JAX is named like 'cuda' or 'cuda:0', got {device!r}")
    try:
        found = jax.local_devices(backend=platform)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise cv.BackendUnavailableError(f"JAX {jax.__version__} cannot use device {device!r}: {reason}") from error
    index = int(number or 0)
    if index >= len(found):
        raise cv.BackendUnavailableError(f"JAX {jax.__version__} has {len(found)} devices {platform!r}, not {device!r}")
    return found[index]


def available_devices() -> list[Any]:
    """Devices that could be used: those of the default platform, and the CPU."""
    found = list(jax.local_devices())
    if any(device.platform == "cpu" for device in found):
        return found
    try:
        return found + list(jax.local_devices(backend="cpu"))
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        return found


def has_float64() -> bool:
    """Whether 64-bit types are turned on now (in the caller's context)."""
    config: Any = jax.config
    return bool(config.jax_enable_x64)


def dtype_of(dtype: Any) -> np.dtype[Any] | None:
    """The dtype meant by a name ("float64") or a dtype of ``jax.numpy``.

    Raises:
        PrecisionError: it has 64 bits and they are not turned on.
    """
    if dtype is None:
        return None
    try:
        wanted = jnp.dtype(dtype)
    except TypeError:
        raise cv.PrecisionError(f"{dtype!r} is not the name of a JAX dtype") from None
    if is_wide(wanted) and not has_float64():
        raise cv.PrecisionError(f"JAX has no {wanted} until 64-bit types are turned on: {ENABLE}")
    return wanted


def is_wide(dtype: np.dtype[Any]) -> bool:
    """Whether JAX narrows it quietly unless told otherwise."""
    return dtype.name in ("float64", "complex128", "int64", "uint64")


def array(x: Any, dtype: Any, floating: np.dtype[Any] | None, device: Any) -> Array:
    """An array of JAX from ``x``.

    Args:
        dtype: of the result, whatever ``x`` is.
        floating: of the result where ``dtype`` is None and ``x`` is floating.
        device: of the result; None keeps an array where it is.

    Raises:
        PrecisionError: the values would lose precision.
        MixedBackendError: ``x`` is an array of another library than NumPy.
    """
    wanted = dtype_of(dtype)
    if isinstance(x, jax.Array):
        if wanted is None and floating is not None and jnp.issubdtype(x.dtype, jnp.floating):
            wanted = floating
        if wanted is not None and x.dtype != wanted:
            x = x.astype(wanted)
        if device is None or isinstance(x, jax.core.Tracer) or (x.committed and x.device == device):
            return x
        return jax.device_put(x, device)
    if not isinstance(x, (np.ndarray, np.generic)) and (hasattr(x, "__dlpack__") or hasattr(x, "__array_namespace__")):
        kind = type(x)
        raise cv.MixedBackendError(
            f"backend 'jax' was given a {kind.__module__}.{kind.__qualname__}; arrays do not move between libraries by "
            f"themselves: pass other.to_numpy(x), other being the backend of x"
        )
    host = np.asarray(x)
    if wanted is None:
        is_array = isinstance(x, (np.ndarray, np.generic))
        wanted = floating if floating is not None and host.dtype.kind == "f" else _kept(host, is_array)
    # A copy: an alias of NumPy's memory would change when the caller writes into it. It is made by NumPy, where jnp.array would
    # compile a program for each shape.
    dtype = jax.dtypes.canonicalize_dtype(host.dtype if wanted is None else wanted)
    return jax.device_put(np.array(host, dtype=dtype, order="C"), device)


def _kept(host: np.ndarray[Any, Any], is_array: bool) -> np.dtype[Any] | None:
    """The dtype that keeps the values of what came without one; numbers and lists take JAX's default."""
    if not is_wide(host.dtype) or has_float64():
        return host.dtype
    if host.dtype.kind in "fc":
        if not is_array:
            return None
        raise cv.PrecisionError(
            f"a NumPy array of {host.dtype} would lose half of its digits: JAX has no {host.dtype} until 64-bit types are turned "
            f"on. {ENABLE[0].upper() + ENABLE[1:]}; or ask for less: asarray(x, dtype='float32')"
        )
    narrow = np.dtype(host.dtype.name.replace("64", "32"))
    limits = np.iinfo(narrow)
    if host.size and (host.min() < limits.min or host.max() > limits.max):
        raise cv.PrecisionError(f"integers from {host.min()} to {host.max()} need {host.dtype}, and JAX has none: {ENABLE}")
    return narrow


def numpy_array(x: Array) -> np.ndarray[Any, Any]:
    """The values of ``x`` on the host.

    Raises:
        UnsupportedError: it has none now.
    """
    if isinstance(x, jax.core.Tracer):
        raise cv.UnsupportedError(
            "to_numpy of an array that has no values now: inside of jax.jit, jax.grad and jax.vmap arrays are abstract. Return "
            "it from the transformed function, then convert it"
        )
    return np.asarray(x)
