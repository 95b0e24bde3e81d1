"""Watching one evaluation of a function for the ways in which its parameters enter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.overrides import TorchFunctionMode, resolve_name

from .patches import Patches
from .views import VIEWS, View, derived

Key = tuple[Node, int]
"""A value in the autograd graph: the node that made it and which of its outputs it is."""


@dataclass
class Record:
    """A call that used parameters in a way that is understood.

    Attributes:
        arguments: the parameters (or views of them) that it took.
        weight, bias: the views that entered as weight and bias; a shift has a bias only.
        inputs: what was multiplied with the weight.
        version: of ``inputs``, which must not be overwritten afterwards.
        edge: where cotangents of the result are found.
        shape: of the result.
        base: what a shift was added to.
        by_rows: whether the weight's matrix is (d_out, d_in).
        patches: of a convolution.
    """

    arguments: Sequence[Key]
    weight: View | None = None
    bias: View | None = None
    inputs: Tensor | None = None
    version: int = 0
    base: Key | None = None
    by_rows: bool = False
    patches: Patches | None = None
    edge: GradientEdge = field(init=False)
    shape: tuple[int, ...] = field(init=False)

    @property
    def result(self) -> Key:
        """The result as a value in the graph."""
        return (self.edge.node, self.edge.output_nr)


class Recorder(TorchFunctionMode):
    """Sees every function of torch that is called, and keeps the calls that take parameters.

    Attributes:
        views: the parameters and what is still a whole parameter, by their place in the graph.
        records: calls that are understood, in order.
        made_views: for each view other than the parameters, (source, view).
        seen: names of other functions that took a view.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.views: dict[Key, View] = {}
        self.records: list[Record] = []
        self.made_views: list[tuple[Key, Key]] = []
        self.seen: dict[Key, str] = {}
        self.leaves: dict[str, Key] = {}
        self._leaf_keys: dict[int, Key] = {}
        for path, parameter in parameters.items():
            edge = get_gradient_edge(parameter)
            key = self.leaves[path] = self._leaf_keys[id(parameter)] = (edge.node, edge.output_nr)
            self.views[key] = View(path, tuple(parameter.shape))

    def key(self, x: Any) -> Key | None:
        """Place in the graph of a tensor that has one."""
        if not isinstance(x, Tensor):
            return None
        node = x.grad_fn
        return self._leaf_keys.get(id(x)) if node is None else (node, x.output_nr)

    def view(self, x: Any) -> tuple[Key, View] | None:
        """The parameter that ``x`` is, if it is one."""
        key = self.key(x)
        if key is None:
            return None
        view = self.views.get(key)
        return None if view is None else (key, view)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in VIEWS:
            return self._run_view(func, args, kwargs)
        rule = RULES.get(func)
        # Before the call, since one that works in place changes its argument's place in the graph.
        record = rule(self, *args, **kwargs) if rule is not None else None
        taken = [] if record is not None else [hit[0] for hit in map(self.view, _tensors(args, kwargs)) if hit]
        result = func(*args, **kwargs)
        if taken and any(y.requires_grad for y in _tensors((result,), {})):
            for key in taken:
                self.seen.setdefault(key, _name(func))
        if record is not None and isinstance(result, Tensor) and result.grad_fn is not None:
            record.edge = get_gradient_edge(result)
            record.shape = tuple(result.shape)
            self.records.append(record)
        return result

    def _run_view(self, func: Any, args: Any, kwargs: Any) -> Any:
        source = self.view(args[0]) if args else None
        result = func(*args, **kwargs)
        if source is not None:
            key, view = source
            new = derived(func, view, args[0], result, tuple(args[1:]), kwargs)
            made = self.key(result)
            if made is None:
                return result
            if new is None:
                self.seen.setdefault(key, _name(func))
            elif made != key:
                self.views[made] = new
                self.made_views.append((key, made))
        return result


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Tensors among the arguments of a call, with those inside its lists."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [v for v in value if isinstance(v, Tensor)]
    return found


def _name(func: Any) -> str:
    return resolve_name(func) or getattr(func, "__name__", repr(func))


# What each function means ---------------------------------------------------------------------------


def _product(recorder: Recorder, x: Any, w: Any, bias: Any = None, *, by_rows: bool) -> Record | None:
    """s = x W + b, or x Wᵀ + b if ``by_rows``."""
    weight = recorder.view(w)
    if weight is None or recorder.view(x) is not None or not isinstance(x, Tensor) or x.ndim < 2:
        return None
    key, view = weight
    if view.is_matrix:
        record = Record([key], weight=view, by_rows=by_rows != view.transposed)
        d_out = view.shape[0 if by_rows else 1]
    elif len(view.shape) == 1 and not by_rows:
        record, d_out = Record([key], weight=view), 1
    else:
        return None
    record.inputs, record.version = x.detach(), x._version
    added = recorder.view(bias)
    if added is not None and added[1].is_vector(d_out):
        record.bias = added[1]
        record.arguments = [key, added[0]]
    return record


def _linear(recorder: Recorder, input: Any, weight: Any, bias: Any = None) -> Record | None:
    return _product(recorder, input, weight, bias, by_rows=True)


def _matmul(recorder: Recorder, *args: Any, **named: Any) -> Record | None:
    return None if named or len(args) != 2 else _product(recorder, *args, by_rows=False)


def _rmatmul(recorder: Recorder, *args: Any) -> Record | None:
    return _product(recorder, args[1], args[0], by_rows=False)


def _addmm(
    recorder: Recorder, input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1, out: Any = None
) -> Record | None:
    if out is not None or beta != 1 or alpha != 1:
        return None
    return _product(recorder, mat1, mat2, input, by_rows=False)


def _add(recorder: Recorder, *args: Any, **named: Any) -> Record | None:
    if named or len(args) != 2:
        return None
    for base, shift in (args, args[::-1]):
        hit = recorder.view(shift)
        if hit is None or not isinstance(base, Tensor) or recorder.view(base) is not None:
            continue
        key, view = hit
        # A vector along the last axis, or one number where there is no such axis.
        fits = view.is_vector(base.shape[-1]) and len(view.shape) <= base.ndim if base.ndim > 1 else None
        if fits or (base.ndim == 1 and view.shape in ((), (1,))):
            return Record([key], bias=view, base=recorder.key(base))
    return None


def _conv2d(
    recorder: Recorder,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Record | None:
    hit = recorder.view(weight)
    if hit is None or groups != 1 or recorder.view(input) is not None or input.ndim != 4:
        return None
    key, view = hit
    if view.transposed:
        return None
    record = Record([key], weight=view, by_rows=True, inputs=input.detach(), version=input._version)
    record.patches = Patches.of(view.shape[2:], stride, padding, dilation)
    added = recorder.view(bias)
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
