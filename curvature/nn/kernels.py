"""Where a backend's own implementation of a layer takes the place of the portable one.

A backend offers kernels by a mapping ``kernels`` from the names below to functions. The arguments are checked and in
normal form when a kernel is called:

| name | arguments | result |
|---|---|---|
| ``linear`` | x (…, d_in), weight (d_out, d_in), bias (d_out,) or None | (…, d_out) |
| ``conv2d`` | x (N, c_in, H, W), weight (c_out, c_in / groups, h, w), bias (c_out,) or None, stride (rows, columns), padding ((top, bottom), (left, right)), dilation (rows, columns), groups | (N, c_out, H', W') |
| ``embedding`` | indices (…), weight (n, d) | (…, d) |
| ``gelu`` | x | like x |
| ``relu`` | x | like x |

A kernel must give what the portable function gives, to rounding, with derivatives of every order in every transform of
the library. A backend leaves out what it has no better way for.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autodiff import Traced
from ..registry import backend_of

Array = Any


def kernel(name: str, x: Array, *others: Array | None) -> Callable[..., Array] | None:
    """The kernel of the backend of ``x``, or None where there is none or an argument is traced by ``curvature.autodiff``.

    Raises:
        MixedBackendError: arrays of two libraries or devices.
    """
    arrays, kind = [x, *(a for a in others if a is not None)], type(x)
    for array in arrays:
        if type(array) is Traced:
            return None
    # Arrays of one type are of one library, and what is on two devices its kernel refuses: this is called often.
    return backend_of(*(arrays[:1] if all(type(a) is kind for a in arrays) else arrays)).kernels.get(name)
