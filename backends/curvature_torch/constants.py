"""Forward mode without the work that torch does for operands that have no tangent.

Torch gives a constant operand a tangent of zeros. In a product of matrices these are multiplied like any others,
which makes the first (often the largest) layer of a network half as dear again; in elementwise operations they cost
some hundred microseconds of Python each. Here such calls compute only the tangents that are not zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.overrides import TorchFunctionMode


class Constants(TorchFunctionMode):
    """Replaces bilinear functions and sums in which only one operand has a tangent."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = _RULES.get(func)
        if rule is not None:
            result = rule(*args, **(kwargs or {}))
            if result is not None:
                return result
        return func(*args, **(kwargs or {}))


def _tangent(x: Any) -> Tensor | None:
    return unpack_dual(x).tangent if isinstance(x, Tensor) else None


def _one_sided(args: Any, named: Any, swapped: bool) -> tuple[Any, Any, Any, Any] | None:
    """(primal, tangent) of both operands of a plain call with two, if exactly one has a tangent."""
    if named or len(args) != 2:
        return None
    a, b = args[::-1] if swapped else args
    left, right = _tangent(a), _tangent(b)
    if (left is None) == (right is None):
        return None
    return (a, left, unpack_dual(b).primal, right) if left is None else (unpack_dual(a).primal, left, b, right)


def _bilinear(function: Callable[[Any, Any], Tensor], swapped: bool = False) -> Callable[..., Tensor | None]:
    def rule(*args: Any, **named: Any) -> Tensor | None:
        sides = _one_sided(args, named, swapped)
        if sides is None:
            return None
        a, da, b, db = sides
        return make_dual(function(a, b), function(a, db) if da is None else function(da, b))

    return rule


def _divide(*args: Any, **named: Any) -> Tensor | None:
    if named or len(args) != 2 or _tangent(args[1]) is not None or _tangent(args[0]) is None:
        return None
    a, da = unpack_dual(args[0])
    return make_dual(torch.true_divide(a, args[1]), torch.true_divide(da, args[1]))


def _sum(function: Callable[[Any, Any], Tensor], sign: int = 1, swapped: bool = False) -> Callable[..., Tensor | None]:
    def rule(*args: Any, **named: Any) -> Tensor | None:
        sides = _one_sided(args, named, swapped)
        if sides is None:
            return None
        a, da, b, db = sides
        result = function(a, b)
        tangent = da if db is None else (db if sign == 1 else -db)
        # A copy, since a later operation in place on the sum would also change its tangent.
        return make_dual(result, tangent.expand(result.shape).to(result.dtype, copy=True))

    return rule


def _linear(input: Any, weight: Any, bias: Any = None) -> Tensor | None:
    product = torch.nn.functional.linear
    weight_tangent = _tangent(weight)
    if weight_tangent is None or _tangent(input) is not None:
        return None
    bias_tangent = _tangent(bias)
    primal = product(input, unpack_dual(weight).primal, None if bias is None else unpack_dual(bias).primal)
    return make_dual(primal, product(input, weight_tangent, bias_tangent))


def _embedding(input: Any, weight: Any, padding_idx: Any = None, *rest: Any, **named: Any) -> None:
    scaled = named.get("scale_grad_by_freq", rest[2] if len(rest) > 2 else False)
    if _tangent(weight) is not None and (padding_idx is not None or scaled):
        # Reverse mode alters the gradient on purpose; the caller then derives forward mode from reverse mode.
        raise NotImplementedError("forward mode of an embedding with padding_idx or scale_grad_by_freq")


_T = torch.Tensor
_RULES: dict[Any, Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.matmul, torch.mm, _T.matmul, _T.mm, _T.__matmul__), _bilinear(torch.matmul)),
    _T.__rmatmul__: _bilinear(torch.matmul, swapped=True),
    **dict.fromkeys((torch.mul, torch.multiply, _T.mul, _T.__mul__, _T.__rmul__), _bilinear(torch.mul)),
    **dict.fromkeys((torch.div, torch.true_divide, torch.divide, _T.div, _T.__truediv__), _divide),
    **dict.fromkeys((torch.add, _T.add, _T.__add__, _T.__radd__), _sum(torch.add)),
    **dict.fromkeys((torch.sub, torch.subtract, _T.sub, _T.__sub__), _sum(torch.sub, sign=-1)),
    _T.__rsub__: _sum(torch.sub, sign=-1, swapped=True),
    torch.nn.functional.linear: _linear,
    torch.nn.functional.embedding: _embedding,
}
