"""Functions of torch that move entries and compute nothing: of a view they make another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .views import Lookup, View, looked_up

_T = torch.Tensor


def _both(*names: str) -> set[Any]:
    """The functions of torch and of tensors with these names, as far as this version has them."""
    return {getattr(owner, name) for owner in (torch, _T) for name in names if hasattr(owner, name)}


def _getters(*names: str) -> set[Any]:
    return {getattr(_T, name).__get__ for name in names}


_FLIPS = _both("t", "adjoint") | _getters("T", "mT", "H", "mH")
_SWAPS = _both("transpose", "swapaxes", "swapdims")
_PERMUTES = _both("permute")
_COPIES = _both("clone") | {_T.contiguous, _T.to, _T.type_as, _T.float, _T.double, _T.half, _T.bfloat16, _T.cpu, _T.cuda}
_RESHAPES = _both("reshape", "flatten", "ravel", "squeeze", "unsqueeze", "unflatten", "view_as", "reshape_as") | {_T.view}
_EXPANDS = _both("expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave")
_PICKS = _both(
    *("narrow", "select", "index_select", "gather", "take", "take_along_dim", "masked_select", "diagonal"),
    *("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "hsplit", "vsplit", "dsplit"),
    *("movedim", "moveaxis", "roll", "flip", "fliplr", "flipud", "rot90", "unsafe_chunk", "unsafe_split"),
) | {_T.__getitem__}
VIEWS = frozenset(_FLIPS | _SWAPS | _PERMUTES | _COPIES | _RESHAPES | _EXPANDS | _PICKS)
"""Functions whose first argument is the tensor whose entries they show in another shape, order or choice."""


def derived(func: Any, view: View, source: Tensor, result: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> View | None:
    """What ``result = func(source, *rest, **named)`` is if ``source`` is ``view``; None if it is no longer a view."""
    if not isinstance(result, Tensor) or (result.dtype, result.device) != (source.dtype, source.device):
        return None
    shape = tuple(result.shape)
    if func in _COPIES:
        return view
    reshapes = func in _RESHAPES or (func is _T.__getitem__ and _inserts_axes(rest[0]))
    if view.gather is None:
        plain = _reshaped(view, shape) if reshapes else _turned(func, view, source, shape, rest + tuple(named.values()))
        if plain is not None:
            return plain
    if view.lookup is not None and reshapes:
        kept = _reshaped_lookup(view, view.lookup, shape)
        if kept is not None:
            return kept
    if func in _ROWS and not named:
        table = _table(func, view, rest)
        if table is not None:
            return table
    return _gathered(func, view, shape, rest, named)


def several(func: Any, view: View, results: Sequence[Any], rest: tuple[Any, ...], named: dict[str, Any]) -> list[View | None]:
    """The same for a function with several results."""
    return [
        _gathered(func, view, tuple(result.shape), rest, named, pick) if isinstance(result, Tensor) else None
        for pick, result in enumerate(results)
    ]


def _inserts_axes(index: Any) -> bool:
    """Whether an index takes everything, and at most adds axes of length one."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or (isinstance(part, slice) and part == slice(None)) for part in parts)


def _reshaped(view: View, shape: tuple[int, ...]) -> View | None:
    """A reshape of the whole parameter or of its transpose, whose rows and columns any other shape would mix."""
    if view.is_whole:
        return View(view.path, view.total, shape)
    return view if shape == view.shape else None


def _turned(func: Any, view: View, source: Tensor, shape: tuple[int, ...], axes: tuple[Any, ...]) -> View | None:
    """The transpose of a matrix."""
    if func in _FLIPS:
        swapped: bool | None = True
    elif func in _SWAPS:
        swapped = (axes[0] - axes[1]) % 2 == 1 if len(axes) == 2 else None
    else:
        swapped = _permuted(*axes) if func in _PERMUTES else None
    if swapped is None or source.ndim > 2:
        return None
    if source.ndim < 2:
        return view
    return View(view.path, view.total, shape, view.transposed != swapped and min(shape) > 1)


def _permuted(*axes: Any) -> bool | None:
    """Whether a permutation of two axes swaps them; None if it is not one of two axes."""
    flat = tuple(axes[0]) if len(axes) == 1 and not isinstance(axes[0], int) else axes
    if len(flat) != 2 or not all(isinstance(axis, int) for axis in flat):
        return None
    return tuple(axis % 2 for axis in flat) == (1, 0)


def _reshaped_lookup(view: View, lookup: Lookup, shape: tuple[int, ...]) -> View | None:
    """Rows whose numbers stand in another shape."""
    lead = len(shape) - len(lookup.width)
    if lead < 0 or shape[lead:] != lookup.width:
        return None
    numbers = lookup.numbers.reshape(shape[:lead])
    return looked_up(lookup.table, numbers, lookup.padding)


_ROWS = {_T.__getitem__} | _both("index_select")


def _table(func: Any, view: View, rest: tuple[Any, ...]) -> View | None:
    """Rows looked up by an array of their numbers."""
    if view.transposed or not view.is_gathered:
        return None
    if func is _T.__getitem__:
        numbers = rest[0]
    else:
        if len(rest) != 2 or rest[0] not in (0, -len(view.shape)):
            return None
        numbers = rest[1]
    return looked_up(view, numbers) if isinstance(numbers, Tensor) else None


def _gathered(
    func: Callable[..., Any],
    view: View,
    shape: tuple[int, ...],
    rest: tuple[Any, ...],
    named: dict[str, Any],
    pick: int | None = None,
) -> View | None:
    """Any other function that moves entries: it moves their positions in the same way."""
    if not view.is_gathered:
        return None
    rest, named = _kept(rest), {name: _kept(value) for name, value in named.items()}

    def positions(device: torch.device) -> Tensor:
        moved = func(view.positions(device), *rest, **named)
        return moved if pick is None else moved[pick]

    return View(view.path, view.total, shape, gather=positions, expanded=view.expanded or func in _EXPANDS)


def _kept(value: Any) -> Any:
    """An argument as it is now: whoever made an index may write another in its place."""
    if isinstance(value, Tensor):  # a floating one only says a shape
        return value.detach() if value.dtype.is_floating_point else value.detach().clone()
    if isinstance(value, (tuple, list)):
        return type(value)([_kept(v) for v in value])
    return value
