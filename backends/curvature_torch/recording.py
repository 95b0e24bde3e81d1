"""Watching one evaluation of a function for the ways in which its parameters enter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from .gathers import VIEWS, derived, several
from .lookups import LOOKUPS
from .records import Key, Record
from .rules import RULES
from .views import View, looked_up

PROPERTIES = frozenset(
    getattr(Tensor, name).__get__
    for name in ("shape", "ndim", "dtype", "device", "layout", "requires_grad", "is_leaf", "is_cuda", "is_sparse", "itemsize")
)
"""What is asked of tensors most often and gives no tensor."""


class Recorder(TorchFunctionMode):
    """Sees every function of torch that is called, and keeps the calls that take parameters.

    Args:
        parameters: path -> leaf.
        written_out: functions of torch that hide several others, and what to call instead when a parameter goes into them:
            the same in functions that are seen.

    Attributes:
        views: the parameters and what holds entries of one and nothing else, by their place in the graph.
        records: calls that are understood, in order.
        made_views: for each view other than the parameters, (source, view).
        view_edges: where cotangents of those views are found that may have an axis of examples.
        seen: other functions that took a view.
    """

    def __init__(self, parameters: Mapping[str, Tensor], written_out: Mapping[Any, Callable[..., Any]]) -> None:
        super().__init__()
        self.views: dict[Key, View] = {}
        self.records: list[Record] = []
        self.made_views: list[tuple[Key, Key]] = []
        self.view_edges: dict[Key, GradientEdge] = {}
        self.seen: dict[Key, Any] = {}
        self.leaves: dict[str, Key] = {}
        self._leaf_keys: dict[int, Key] = {}
        self._written_out = written_out
        for path, parameter in parameters.items():
            edge = get_gradient_edge(parameter)
            key = self.leaves[path] = self._leaf_keys[id(parameter)] = (edge.node, edge.output_nr)
            self.views[key] = View(path, parameter.numel(), tuple(parameter.shape))

    def key(self, x: Any) -> Key | None:
        """Place in the graph of a tensor that has one."""
        if not isinstance(x, Tensor):
            return None
        node = x.grad_fn
        return self._leaf_keys.get(id(x)) if node is None else (node, x.output_nr)

    def view(self, x: Any) -> tuple[Key, View] | None:
        """The parameter that ``x`` holds, if it does and nothing else."""
        key = self.key(x)
        if key is None:
            return None
        view = self.views.get(key)
        return None if view is None else (key, view)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PROPERTIES:
            return func(*args)
        kwargs = kwargs or {}
        if func in VIEWS:
            return self._run_view(func, args, kwargs)
        lookup = LOOKUPS.get(func)
        if lookup is not None:
            rows = lookup(*args, **kwargs)
            source = None if rows is None else self.view(rows[0])
            if rows is not None and source is not None:
                result = func(*args, **kwargs)
                self._made(func, source[0], result, looked_up(source[1], *rows[1:]))
                return result
        taken = self._taken(args, kwargs)
        if taken and func in self._written_out:
            with self:
                result = self._written_out[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        rule = RULES.get(func)
        # Before the call, since one that works in place changes its argument's place in the graph.
        records = rule(self, *args, **kwargs) if taken and rule is not None else ()
        result = func(*args, **kwargs)
        if taken and (result is None or _is_recorded(result)):
            understood = {key for record in records for key in record.arguments}
            for key in taken:
                if key not in understood:
                    self.seen.setdefault(key, func)
        if records and isinstance(result, Tensor) and result.grad_fn is not None:
            edge, shape = get_gradient_edge(result), tuple(result.shape)
            for record in records:
                record.edge, record.shape, record.function = edge, shape, func
            self.records += records
        return result

    def _taken(self, args: Any, kwargs: Any) -> list[Key]:
        """The views among the arguments of a call."""
        keys = [self.key(x) for x in _tensors(args, kwargs)]
        return [key for key in keys if key in self.views]

    def _run_view(self, func: Any, args: Any, kwargs: Any) -> Any:
        source = self.view(args[0]) if args else None
        result = func(*args, **kwargs)
        if source is not None:
            key, view = source
            rest = tuple(args[1:])
            if isinstance(result, (tuple, list)):
                for piece, new in zip(result, several(func, view, result, rest, kwargs), strict=True):
                    self._made(func, key, piece, new)
            else:
                self._made(func, key, result, derived(func, view, args[0], result, rest, kwargs))
        return result

    def _made(self, func: Any, source: Key, result: Any, view: View | None) -> None:
        """Keep what a function made of a view."""
        made = self.key(result)
        if made is None:
            return
        if view is None:
            self.seen.setdefault(source, func)
        elif made != source:
            self.views[made] = view
            self.made_views.append((source, made))
            if view.expanded or view.lookup is not None:
                self.view_edges[made] = get_gradient_edge(result)


def _is_recorded(result: Any) -> bool:
    if isinstance(result, Tensor):
        return result.requires_grad
    return any(y.requires_grad for y in _tensors((result,), {}))


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Tensors among the arguments of a call, with those inside its lists."""
    found = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [v for v in value if isinstance(v, Tensor)]
    return found
