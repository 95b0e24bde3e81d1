"""What each function of torch means for the parameters that it takes.

A rule looks at the arguments of a call, before it is made, and returns a record without a result, or None where the
call is not (part of) an affine map of a whole parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from .patches import Patches
from .records import Key, Record
from .views import View


class Places(Protocol):
    """What rules ask of the recorder."""

    def key(self, x: Any) -> Key | None:
        """Place in the graph of a tensor that has one."""

    def view(self, x: Any) -> tuple[Key, View] | None:
        """The parameter that ``x`` is, if it is one."""


def _product(places: Places, x: Any, w: Any, bias: Any = None, *, by_rows: bool) -> Record | None:
    """s = x W + b, or x Wᵀ + b if ``by_rows``."""
    weight = places.view(w)
    if weight is None or places.view(x) is not None or not isinstance(x, Tensor) or x.ndim < 2:
        return None
    key, view = weight
    if view.is_matrix:
        record = Record([key], weight=view, by_rows=by_rows != view.transposed)
        d_out = view.shape[0 if by_rows else 1]
    elif len(view.shape) == 1 and not by_rows:
        record, d_out = Record([key], weight=view), 1
    else:
        return None
    record.inputs, record.attached, record.version = x.detach(), x, x._version
    added = places.view(bias)
    if added is not None and added[1].is_vector(d_out):
        record.bias = added[1]
        record.arguments = [key, added[0]]
    return record


def _linear(places: Places, input: Any, weight: Any, bias: Any = None) -> Record | None:
    return _product(places, input, weight, bias, by_rows=True)


def _matmul(places: Places, *args: Any, **named: Any) -> Record | None:
    return None if named or len(args) != 2 else _product(places, *args, by_rows=False)


def _rmatmul(places: Places, *args: Any) -> Record | None:
    return _product(places, args[1], args[0], by_rows=False)


def _addmm(
    places: Places, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None
) -> Record | None:
    if out is not None or beta != 1 or alpha != 1:
        return None
    return _product(places, mat1, mat2, input, by_rows=False)


def _add(places: Places, *args: Any, **named: Any) -> Record | None:
    if named or len(args) != 2:
        return None
    for base, shift in (args, args[::-1]):
        hit = places.view(shift)
        if hit is None or not isinstance(base, Tensor) or places.view(base) is not None:
            continue
        key, view = hit
        # A vector along the last axis, or one number where there is no such axis.
        fits = view.is_vector(base.shape[-1]) and len(view.shape) <= base.ndim if base.ndim > 1 else None
        if fits or (base.ndim == 1 and view.shape in ((), (1,))):
            return Record([key], bias=view, base=places.key(base))
    return None


def _conv2d(
    places: Places,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Record | None:
    hit = places.view(weight)
    if hit is None or groups != 1 or places.view(input) is not None or input.ndim != 4:
        return None
    key, view = hit
    if view.transposed:
        return None
    record = Record([key], weight=view, by_rows=True, inputs=input.detach(), version=input._version)
    record.patches = Patches.of(view.shape[2:], stride, padding, dilation)
    added = places.view(bias)
    if added is not None and added[1].is_vector(view.shape[0]):
        record.bias = added[1]
        record.arguments = [key, added[0]]
    return record


_T = torch.Tensor
RULES: Mapping[Any, Callable[..., Record | None]] = {
    torch.nn.functional.linear: _linear,
    **dict.fromkeys((torch.matmul, _T.matmul, _T.__matmul__, torch.mm, _T.mm, torch.mv, _T.mv), _matmul),
    _T.__rmatmul__: _rmatmul,
    **dict.fromkeys((torch.addmm, _T.addmm), _addmm),
    **dict.fromkeys((torch.add, _T.add, _T.__add__, _T.__radd__, _T.add_, _T.__iadd__), _add),
    torch.conv2d: _conv2d,
}
"""Functions in which a parameter enters as (part of) an affine map."""
