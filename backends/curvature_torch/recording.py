"""Watching one evaluation of a function for the ways in which its parameters enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode, resolve_name

from .records import Key, Record
from .rules import RULES
from .views import VIEWS, View, derived


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
