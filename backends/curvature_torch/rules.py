"""What each function of torch means for the parameters that it takes.

A rule looks at the arguments of a call, before it is made, and returns records without a result: one for each parameter
that enters in a way that is affine in it. Whether examples lie where they should is asked later (arrangement.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .patches import Patches
from .records import Key, Record
from .views import View


class Places(Protocol):
    """What rules ask of the recorder."""

    def key(self, x: Any) -> Key | None:
        """Place in the graph of a tensor that has one."""

    def view(self, x: Any) -> tuple[Key, View] | None:
        """The parameter that ``x`` holds, if it does and nothing else."""


Records = Sequence[Record]
NONE: Records = ()


def _product(places: Places, x: Any, w: Any, bias: Any = None, *, by_rows: bool) -> Records:
    """s = x W + b, or x Wᵀ + b if ``by_rows``."""
    weight = places.view(w)
    added = places.view(bias)
    if weight is None or not isinstance(x, Tensor) or x.ndim < 2:
        return _shift(places, bias, added)
    key, view = weight
    axes = len(view.shape)
    if axes == 3 and not by_rows:
        return _stacked(key, view, x)
    if axes > 2 or (axes != 2 and by_rows) or not view.is_gathered:
        return _shift(places, bias, added)
    record = Record("linear", view, [key], inputs=x.detach(), attached=x, version=x._version)
    if axes == 1:
        record.features = ()
    else:
        record.features = (-1,)
        record.by_rows = by_rows != view.transposed
    return _with_bias(record, added, 1 if axes == 1 else view.shape[0 if by_rows else 1])


def _stacked(key: Key, view: View, x: Tensor) -> Records:
    """s_g = x_g W_g of a stack of matrices W (groups, d_in, d_out)."""
    groups = view.shape[0]
    if not view.is_gathered or x.ndim < 3 or x.shape[-3] not in (1, groups):
        return NONE
    inputs = x.detach().expand(*x.shape[:-3], groups, *x.shape[-2:])
    return (
        Record("linear", view, [key], inputs=inputs, version=x._version, features=(-3, -1), contracted=(-3, -1), groups=groups),
    )


def _with_bias(record: Record, added: tuple[Key, View] | None, d_out: int) -> Records:
    """The record with the bias of the same call, which is one of its own if it is not a whole parameter."""
    if added is None:
        return (record,)
    key, view = added
    if view.is_vector(d_out):
        record.bias = view
        record.arguments = [*record.arguments, key]
        return (record,)
    shift = Record("shift", view, [key], features=record.features)
    return (record, shift) if view.is_gathered and view.size == d_out else (record,)


def _shift(places: Places, bias: Any, added: tuple[Key, View] | None) -> Records:
    """The bias of a product whose weight is no parameter."""
    return NONE if added is None or not added[1].is_gathered else (Record("shift", added[1], [added[0]]),)


def _from_the_left(places: Places, w: Any, x: Any) -> Records:
    """s = W x, positions (or examples) on the last axis."""
    weight = places.view(w)
    if weight is None or len(weight[1].shape) != 2 or not weight[1].is_gathered or not isinstance(x, Tensor) or x.ndim < 2:
        return NONE
    key, view = weight
    record = Record("linear", view, [key], inputs=x.detach(), version=x._version, features=(-2,), contracted=(-2,))
    record.by_rows = not view.transposed
    return (record,)


def _linear(places: Places, input: Any, weight: Any, bias: Any = None) -> Records:
    return _product(places, input, weight, bias, by_rows=True)


def _matmul(places: Places, *args: Any, **named: Any) -> Records:
    if named or len(args) != 2:
        return NONE
    return (*_product(places, *args, by_rows=False), *_from_the_left(places, *args))


def _rmatmul(places: Places, *args: Any) -> Records:
    return _matmul(places, *args[::-1])


def _addmm(places: Places, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None) -> Records:
    if out is not None or beta != 1 or alpha != 1:
        return NONE
    return _product(places, mat1, mat2, input, by_rows=False)


def _sum(first: bool, second: bool) -> Callable[..., Records]:
    """a + b, where each of them enters negatively or not."""

    def rule(places: Places, *args: Any, **named: Any) -> Records:
        if named or len(args) != 2:
            return NONE
        records = []
        for shift, base, negative, turned in ((args[0], args[1], first, second), (args[1], args[0], second, first)):
            hit = places.view(shift)
            if hit is not None:
                records.append(_added(*hit, shift.device))
                # Of b - x W, b is no bias: the cotangents of the product have the other sign.
                records[-1].base, records[-1].negative = None if turned else places.key(base), negative
        return records

    return rule


def _added(key: Key, view: View, device: torch.device) -> Record:
    if view.lookup is not None:
        return Record("embedding", view, [key])
    if view.expanded:
        once, own = view.unrepeated(device)
        return Record("shift", once, [key], features=own)
    return Record("shift", view, [key])


def _scaled(*, in_place: bool) -> Callable[..., Records]:
    """x ∘ w, broadcast."""

    def rule(places: Places, *args: Any, **named: Any) -> Records:
        if named or len(args) != 2:
            return NONE
        records = []
        for position, (scale, x) in enumerate((args, args[::-1])):
            hit = places.view(scale)
            if hit is None or not isinstance(x, Tensor) or not hit[1].is_gathered:
                continue
            overwritten = in_place and position == 1
            inputs = x.detach().clone() if overwritten else x.detach()
            records.append(Record("scale", hit[1], [hit[0]], inputs=inputs, version=inputs._version))
        return records

    return rule


def _convolution(count: int, function: Callable[..., Tensor]) -> Callable[..., Records]:
    """A convolution of (N, c_in, *sizes) in so many dimensions."""

    def rule(
        places: Places,
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Records:
        if not isinstance(input, Tensor) or input.ndim != count + 2:
            return NONE
        hit, added = places.view(weight), places.view(bias)
        if hit is None or not hit[1].is_gathered:
            return NONE if added is None else (Record("shift", added[1], [added[0]], features=(-1 - count,)),)
        key, view = hit
        record = Record("linear", view, [key], inputs=input.detach(), version=input._version, by_rows=True, groups=groups)
        record.features = (-1 - count,)
        record.patches = Patches.of(view.shape[2:], stride, padding, dilation)
        record.again = lambda w, b: function(input, w, b, stride, padding, dilation, groups)
        return _with_bias(record, added, view.shape[0])

    return rule


_T = torch.Tensor
_SUM, _DIFFERENCE, _REVERSED = _sum(False, False), _sum(False, True), _sum(True, False)
_SCALED = _scaled(in_place=False)
RULES: Mapping[Any, Callable[..., Records]] = {
    F.linear: _linear,
    **dict.fromkeys((torch.matmul, _T.matmul, _T.__matmul__, torch.mm, _T.mm, torch.mv, _T.mv, torch.bmm, _T.bmm), _matmul),
    _T.__rmatmul__: _rmatmul,
    **dict.fromkeys((torch.addmm, _T.addmm), _addmm),
    **dict.fromkeys((torch.add, _T.add, _T.__add__, _T.__radd__, _T.add_, _T.__iadd__), _SUM),
    **dict.fromkeys((torch.sub, _T.sub, torch.subtract, _T.subtract, _T.__sub__, _T.sub_, _T.__isub__), _DIFFERENCE),
    **dict.fromkeys((torch.rsub, _T.__rsub__), _REVERSED),
    **dict.fromkeys((torch.mul, _T.mul, torch.multiply, _T.multiply, _T.__mul__, _T.__rmul__), _SCALED),
    **dict.fromkeys((_T.mul_, _T.multiply_, _T.__imul__), _scaled(in_place=True)),
    **{function: _convolution(count, function) for count, function in enumerate((torch.conv1d, torch.conv2d, torch.conv3d), 1)},
}
"""Functions in which a parameter enters as (part of) an affine map."""
