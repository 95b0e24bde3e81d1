"""A convolution as a linear map of the patches that its kernel meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Patches:
    """How a convolution in any number of dimensions cuts its input.

    Attributes:
        kernel, stride, dilation: a number for each dimension.
        padding: zeros before and after, from the last dimension to the first, as ``torch.nn.functional.pad`` takes them.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, ...]

    @classmethod
    def of(cls, kernel: Sequence[int], stride: Any, padding: Any, dilation: Any) -> Patches:
        """From the arguments of ``torch.nn.functional.conv1d``, ``conv2d`` or ``conv3d``."""
        count = len(kernel)
        spread = _numbers(dilation, count)
        pads: list[int] = []
        for axis in reversed(range(count)):
            if padding == "same":  # torch puts the odd one at the end
                total = spread[axis] * (kernel[axis] - 1)
                pads += [total // 2, total - total // 2]
            else:
                pads += [0 if padding == "valid" else _numbers(padding, count)[axis]] * 2
        return cls(tuple(kernel), _numbers(stride, count), spread, tuple(pads))

    def cut(self, x: Tensor) -> Tensor:
        """Patches (N, T, c_in ∏ kernel) of (N, c_in, *sizes), T the positions of the output in row-major order."""
        if any(self.padding):
            x = F.pad(x, self.padding)
        count = len(self.kernel)
        for axis, (side, step, spread) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            x = x.unfold(2 + axis, spread * (side - 1) + 1, step)[..., ::spread]
        # (N, c_in, *outputs, *kernel): all of them strides of one array, copied once.
        x = x.movedim(1, 1 + count)
        return x.reshape(x.shape[0], x.shape[1 : 1 + count].numel(), -1)


def _numbers(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    return values * count if len(values) == 1 else values
