"""Making tensors from numbers, lists, NumPy arrays and tensors, on a device and in a dtype that exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import curvature as cv


def usable_device(device: Any) -> torch.device | None:
    """The device meant by a name, with its index; None stays None.

    Raises:
        BackendUnavailableError: this build or machine does not have it.
    """
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise cv.BackendUnavailableError(f"PyTorch {torch.__version__} cannot use device {device!r}: {reason}") from error


def available_devices() -> list[torch.device]:
    """Devices that could be used."""
    found = [torch.device("cpu")]
    if torch.cuda.is_available():
        found += [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    if torch.xpu.is_available():
        found += [torch.device("xpu", i) for i in range(torch.xpu.device_count())]
    return found


def torch_dtype(dtype: Any) -> torch.dtype | None:
    """The dtype meant by a name ("float64") or a dtype of torch."""
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else None
    if not isinstance(found, torch.dtype):
        raise TypeError(f"{dtype!r} is not the name of a PyTorch dtype")
    return found


def check_precision(device: torch.device | None, dtype: torch.dtype | None) -> None:
    """Refuse what the device cannot hold, rather than round it silently."""
    if dtype is torch.float64 and device is not None and device.type == "mps":
        raise cv.PrecisionError("Apple's mps device has no float64; use dtype='float32' or device='cpu'")


def tensor(x: Any, dtype: torch.dtype | None, floating: torch.dtype | None, device: torch.device | None) -> Tensor:
    """A tensor from ``x``, free of any history.

    Args:
        dtype: of the result, whatever ``x`` is.
        floating: of the result where ``dtype`` is None and ``x`` is floating.
        device: of the result; None keeps a tensor where it is.
    """
    made = x.detach() if isinstance(x, Tensor) else _from_host(x)
    if dtype is None and made.dtype.is_floating_point:
        dtype = floating
    check_precision(device or made.device, dtype or made.dtype)
    found = made.to(device=device, dtype=dtype)
    shares = isinstance(x, np.ndarray) and found.data_ptr() == made.data_ptr()
    return found.clone() if shares else found


def _can_be_shared(x: np.ndarray) -> bool:
    """Whether torch takes the array as it is. One that is contiguous may still have any stride along an axis of one entry."""
    plain = x.flags.c_contiguous and x.flags.writeable and x.dtype.isnative
    return plain and all(stride > 0 and stride % x.itemsize == 0 for stride in x.strides)


def _from_host(x: Any) -> Tensor:
    if isinstance(x, (bool, int, float, complex, list, tuple)) and not isinstance(x, np.generic):
        return torch.tensor(x)
    if not isinstance(x, (np.ndarray, np.generic)) and hasattr(x, "__dlpack__"):
        library = type(x).__module__.partition(".")[0]
        raise cv.MixedBackendError(
            f"an array of {library} ({type(x).__name__}) was given to the PyTorch backend; "
            f"move it explicitly: be.asarray(other.to_numpy(x))"
        )
    if isinstance(x, np.ndarray) and _can_be_shared(x):
        return torch.from_numpy(x)  # and copied by the conversion that follows, or after it
    # A fresh copy shares no memory, and torch accepts it whatever the strides, byte order and flags of the original.
    array = np.asarray(x)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True))
