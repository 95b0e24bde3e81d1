"""XLA's own convolution for ``curvature.nn``, whose page ``curvature.nn.kernels`` gives the arguments.

The compiler makes of the portable form of the other layers what it would make of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

Array = Any
Sides = tuple[int, int]


def _conv2d(
    x: Array, weight: Array, bias: Array | None, stride: Sides, padding: tuple[Sides, Sides], dilation: Sides, groups: int
) -> Array:
    # Channels last in the result, so that the bias is a vector along the last axis; the compiler moves no data for it.
    y = jax.lax.conv_general_dilated(
        x,
        weight,
        stride,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NCHW", "OIHW", "NHWC"),
        feature_group_count=groups,
    )
    return jnp.permute_dims(y if bias is None else y + bias, (0, 3, 1, 2))


KERNELS: Mapping[str, Callable[..., Array]] = MappingProxyType({"conv2d": _conv2d})
