"""Torch's own functions for the layers of ``curvature.nn``, whose page ``curvature.nn.kernels`` gives the arguments.

Two are left out. The fused kernels of attention have neither forward mode nor second derivatives; and the derivative of a
mapped derivative of ``layer_norm`` (a Hessian by ``torch.func.jacrev`` of ``jacrev``) is silently wrong in torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor
from torch.nn import functional as F

Sides = tuple[int, int]


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sides, padding: tuple[Sides, Sides], dilation: Sides, groups: int
) -> Tensor:
    (top, bottom), (left, right) = padding
    around = (top, left)
    if (top, left) != (bottom, right):  # torch pads both sides alike
        x, around = F.pad(x, (left, right, top, bottom)), (0, 0)
    return F.conv2d(x, weight, bias, stride, around, dilation, groups)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


KERNELS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "linear": F.linear,
        "conv2d": _conv2d,
        "embedding": F.embedding,
        "gelu": _gelu,
        "relu": F.relu,
    }
)
