"""A convolution as a linear map of the patches that its kernel meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """How a two-dimensional convolution cuts its input.

    Attributes:
        kernel, stride, dilation: height and width.
        padding: zeros at (left, right, top, bottom), the order of ``torch.nn.functional.pad``.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @classmethod
    def of(cls, kernel: Sequence[int], stride: Any, padding: Any, dilation: Any) -> Patches:
        """From the arguments of ``torch.nn.functional.conv2d``."""
        height, width = kernel
        spread = _pair(dilation)
        if padding == "valid":
            padding = 0
        if padding == "same":  # torch puts the odd one at the end
            rows, columns = spread[0] * (height - 1), spread[1] * (width - 1)
            pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        else:
            y, x = _pair(padding)
            pads = (x, x, y, y)
        return cls((height, width), _pair(stride), spread, pads)

    def cut(self, x: Tensor) -> Tensor:
        """Patches (N, T, c_in k_h k_w) of images (N, c_in, H, W)."""
        if any(self.padding):
            x = torch.nn.functional.pad(x, self.padding)
        return torch.nn.functional.unfold(x, self.kernel, dilation=self.dilation, stride=self.stride).mT


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    values = tuple(int(v) for v in value)
    return (values[0], values[-1])
