"""Two-dimensional convolution as a linear map of the patches that its kernel meets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np

from ..backend import namespace
from ..errors import ShapeError
from .checks import require_vector
from .kernels import kernel

Array = Any
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves along one axis.

    Attributes:
        length: of the axis.
        size: of the kernel.
        stride, dilation: steps between positions, and between the entries of the kernel.
        padding: zeros before and after the axis.
    """

    length: int
    size: int
    stride: int
    dilation: int
    padding: tuple[int, int]

    @property
    def positions(self) -> int:
        """How many places the kernel has."""
        return (self.length + sum(self.padding) - self.dilation * (self.size - 1) - 1) // self.stride + 1

    @property
    def reads(self) -> np.ndarray:
        """Index along the padded axis of what each entry of the kernel meets at each position, (size, positions)."""
        entries, places = np.arange(self.size), np.arange(self.positions)
        return self.dilation * entries[:, None] + self.stride * places[None, :]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation with a kernel: y[n, o, t] = b_o + Σ_{c, k} W[o, c, k] x[n, c, stride · t + dilation · k - padding].

    Args:
        x: (N, c_in, H, W).
        weight: (c_out, c_in / groups, h, w); with groups the g-th part of the outputs sees the g-th part of the inputs.
        bias: (c_out,) or None.
        stride, dilation: one number, or (rows, columns).
        padding: zeros on each side, one number or (rows, columns); "valid" for none; "same" for ⌈H / stride⌉ rows of
            output (columns likewise), of an odd number of zeros the last at the end.
        groups: how many.

    Returns:
        (N, c_out, H', W').

    Raises:
        ShapeError: the shapes do not fit, or there is no place for the kernel.
        ValueError: a stride, padding, dilation or number of groups that makes no sense.
        MixedBackendError: arrays of two libraries.
    """
    xp = namespace(x, weight, bias)
    _check(x, weight, bias, groups)
    rows, columns = _windows(tuple(x.shape[2:]), tuple(weight.shape[2:]), stride, padding, dilation)
    native = kernel("conv2d", x, weight, bias)
    if native is not None:
        strides, spread = (rows.stride, columns.stride), (rows.dilation, columns.dilation)
        return native(x, weight, bias, strides, (rows.padding, columns.padding), spread, groups)
    n, c_out = x.shape[0], weight.shape[0]
    cut = patches(x, rows, columns)
    if groups == 1:
        y = xp.matmul(cut, xp.matrix_transpose(xp.reshape(weight, (c_out, -1))))  # (N, T, c_out)
        y = y if bias is None else xp.add(y, bias)
    else:
        cut = xp.permute_dims(xp.reshape(cut, (n, cut.shape[1], groups, -1)), (0, 2, 1, 3))
        parts = xp.reshape(weight, (groups, c_out // groups, -1))
        y = xp.matmul(cut, xp.matrix_transpose(parts))  # (N, groups, T, c_out / groups)
        y = y if bias is None else xp.add(y, xp.reshape(bias, (groups, 1, -1)))
        y = xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (n, y.shape[2], c_out))
    return xp.reshape(xp.permute_dims(y, (0, 2, 1)), (n, c_out, rows.positions, columns.positions))


def patches(x: Array, rows: Window, columns: Window) -> Array:
    """What the kernel meets at each of its T positions, row by row: (N, T, c_in h w) from images (N, c_in, H, W)."""
    xp = namespace(x)
    n, c = x.shape[0], x.shape[1]
    padded = _padded(_padded(x, 2, rows.padding), 3, columns.padding)
    width = padded.shape[3]
    index = rows.reads[:, None, :, None] * width + columns.reads[None, :, None, :]  # (h, w, H', W')
    places = xp.asarray(np.ravel(index), device=array_api_compat.device(x))
    size, positions = rows.size * columns.size, rows.positions * columns.positions
    cut = xp.take(xp.reshape(padded, (n, c, padded.shape[2] * width)), places, axis=2)
    return xp.permute_dims(xp.reshape(cut, (n, c * size, positions)), (0, 2, 1))


def _padded(x: Array, axis: int, padding: tuple[int, int]) -> Array:
    xp, shape = namespace(x), tuple(x.shape)

    def zeros(count: int) -> list[Array]:
        where = array_api_compat.device(x)
        return [xp.zeros((*shape[:axis], count, *shape[axis + 1 :]), dtype=x.dtype, device=where)] if count else []

    before, after = padding
    return xp.concat([*zeros(before), x, *zeros(after)], axis=axis) if before or after else x


def _check(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    if len(x.shape) != 4:
        raise ShapeError(f"conv2d: the input has shape {tuple(x.shape)}, expected (N, c_in, H, W)")
    if len(weight.shape) != 4 or math.prod(weight.shape) == 0:
        raise ShapeError(f"conv2d: the weight has shape {tuple(weight.shape)}, expected (c_out, c_in / groups, h, w)")
    if type(groups) is not int or groups < 1:
        raise ValueError(f"conv2d: groups={groups!r}, expected a positive integer")
    c_in, c_out = int(x.shape[1]), int(weight.shape[0])
    if c_in != groups * weight.shape[1] or c_out % groups:
        raise ShapeError(
            f"conv2d: {c_in} channels and a weight of shape {tuple(weight.shape)} do not fit with groups={groups}: expected "
            f"{groups} × {weight.shape[1]} channels of the input, and c_out a multiple of {groups}"
        )
    require_vector(bias, c_out, "conv2d: the bias")


def _windows(image: tuple[int, ...], kernel_size: tuple[int, ...], stride: Any, padding: Any, dilation: Any) -> list[Window]:
    strides, spread = _pair(stride, "stride", 1), _pair(dilation, "dilation", 1)
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f'conv2d: padding={padding!r}, expected numbers, "same" or "valid"')
    around = (0, 0) if isinstance(padding, str) else _pair(padding, "padding", 0)
    windows = []
    for axis, name in enumerate(("rows", "columns")):
        length, size, step, gap = int(image[axis]), int(kernel_size[axis]), strides[axis], spread[axis]
        pads = (around[axis], around[axis])
        if padding == "same":
            total = max((-(-length // step) - 1) * step + gap * (size - 1) + 1 - length, 0)
            pads = (total // 2, total - total // 2)
        window = Window(length, size, step, gap, pads)
        if length == 0 or window.positions < 1:
            raise ShapeError(
                f"conv2d: a kernel that spans {gap * (size - 1) + 1} {name} has no place in {length} of them padded by {pads}"
            )
        windows.append(window)
    return windows


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or any(type(v) is not int or v < least for v in pair):
        raise ValueError(f"conv2d: {name}={value!r}, expected an integer of at least {least}, or two (rows, columns)")
    return (pair[0], pair[1])
