"""CUDA devices as CuPy knows them."""

from __future__ import annotations

import re
from typing import Any

import cupy

import curvature as cv


def cuda_device(device: Any) -> cupy.cuda.Device | None:
    """The device meant by "cuda" (the current one), "cuda:1", 1 or a ``cupy.cuda.Device``; None stays None.

    Raises:
        UnsupportedError: it is no CUDA device.
        BackendUnavailableError: there is no such device here.
    """
    if device is None:
        return None
    if isinstance(device, cupy.cuda.Device):
        return device
    name = re.fullmatch(r"cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if name is not None:
        index = cupy.cuda.Device().id if name[1] is None else int(name[1])
    elif isinstance(device, int) and not isinstance(device, bool):
        index = device
    else:
        raise cv.UnsupportedError(
            f"CuPy has no device {device!r}, only CUDA devices: 'cuda', 'cuda:1', 1 or a cupy.cuda.Device; "
            "for the CPU use cv.backend('numpy')"
        )
    count = cupy.cuda.runtime.getDeviceCount()
    if not 0 <= index < count:
        raise cv.BackendUnavailableError(f"CuPy sees {count} CUDA device(s), numbered from 0: there is no device {device!r}")
    return cupy.cuda.Device(index)


def require_current(device: cupy.cuda.Device) -> None:
    """Refuse another device than the current one, on which CuPy computes wherever its arrays lie.

    Raises:
        UnsupportedError: with the way to make it the current one.
    """
    current = cupy.cuda.Device().id
    if device.id != current:
        raise cv.UnsupportedError(
            f"CuPy computes on the current device, which is {current}, not on {device.id}: make and use the backend inside of "
            f"'with cupy.cuda.Device({device.id}):', or start Python with CUDA_VISIBLE_DEVICES={device.id}"
        )
