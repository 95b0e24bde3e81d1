"""A convolution as a linear map of the patches that its kernel meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Array = Any
Pair = tuple[int, int]


@dataclass(frozen=True)
class Patches:
    """How a convolution cuts its input, of any number of spatial axes.

    Attributes:
        order: the input's axes as (examples, channels, *spatial).
        kernel, strides, padding, dilation, spread: by spatial axis; ``spread`` is the dilation of the input.
        groups: of channels.
        kernel_axes: how a kernel orders its axes apart from the outputs': 0 for channels, 1, 2, … for spatial ones.
    """

    order: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[Pair, ...]
    dilation: tuple[int, ...]
    spread: tuple[int, ...]
    groups: int
    kernel_axes: tuple[int, ...]

    @classmethod
    def of(cls, params: Mapping[str, Any], kernel_shape: tuple[int, ...]) -> Patches:
        """From the parameters of ``conv_general_dilated``."""
        numbers = params["dimension_numbers"]
        out, channels, *spatial = numbers.rhs_spec
        ranks = {axis: rank for rank, axis in enumerate([channels, *spatial])}
        return cls(
            tuple(numbers.lhs_spec),
            tuple(kernel_shape[axis] for axis in spatial),
            tuple(params["window_strides"]),
            tuple((int(low), int(high)) for low, high in params["padding"]),
            tuple(params["rhs_dilation"]),
            tuple(params["lhs_dilation"]),
            params["feature_group_count"],
            tuple(ranks[axis] for axis in range(len(kernel_shape)) if axis != out),
        )

    def cut(self, x: Array) -> Array:
        """(examples, *positions, groups, d_in), d_in in the kernel's own order, from the input."""
        x = jnp.transpose(x, (self.order[0], *self.order[2:], self.order[1]))
        sides = [(low, high, spread - 1) for (low, high), spread in zip(self.padding, self.spread, strict=True)]
        x = jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])
        # One spatial axis after the other becomes two, positions and places in the kernel.
        for number, (k, stride, dilation) in enumerate(zip(self.kernel, self.strides, self.dilation, strict=True)):
            axis = 1 + 2 * number
            positions = (x.shape[axis] - dilation * (k - 1) - 1) // stride + 1
            starts = [place * dilation for place in range(k)]
            cuts = [jax.lax.slice_in_dim(x, s, s + (positions - 1) * stride + 1, stride, axis) for s in starts]
            x = jnp.stack(cuts, axis=axis + 1)
        count, channels = len(self.kernel), x.shape[-1]
        x = jnp.reshape(x, (*x.shape[:-1], self.groups, channels // self.groups))
        positions_axes = [1 + 2 * i for i in range(count)]
        group_axis, channel_axis = 2 * count + 1, 2 * count + 2
        places = [channel_axis if axis == 0 else 2 * axis for axis in self.kernel_axes]
        x = jnp.transpose(x, (0, *positions_axes, group_axis, *places))
        return jnp.reshape(x, (*x.shape[: count + 2], -1))
