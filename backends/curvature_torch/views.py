"""Views of a parameter that are still the parameter, and which functions of torch make them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """A tensor that holds a whole parameter: a row-major reshape of it, or the transpose of a two-dimensional one.

    Attributes:
        path: name of the parameter.
        shape: shape of the tensor.
        transposed: whether it is the transpose of the row-major matrix of shape ``shape[::-1]``.
    """

    path: str
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def is_matrix(self) -> bool:
        """Whether it can be multiplied as a matrix (d_in, d_out) or (d_out, d_in)."""
        return len(self.shape) == 2

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape of the parameter as a row-major matrix."""
        rows, columns = self.shape
        return (columns, rows) if self.transposed else (rows, columns)

    def is_vector(self, size: int) -> bool:
        """Whether it is a vector of ``size`` entries along its last axis."""
        return not self.transposed and self.shape[-1:] == (size,) and math.prod(self.shape) == size


Derive = Callable[[View, Tensor], "View | None"]


def _transposed(view: View, result: Tensor) -> View | None:
    shape = tuple(result.shape)
    if len(shape) == 1:  # .T of a vector
        return View(view.path, shape, view.transposed)
    return View(view.path, shape, not view.transposed) if len(shape) == 2 else None


def _reshaped(view: View, result: Tensor) -> View | None:
    shape = tuple(result.shape)
    if view.transposed:  # any other shape would mix its rows and columns
        return view if shape == view.shape else None
    return View(view.path, shape)


def _permuted(*axes: Any) -> bool | None:
    """Whether a permutation of two axes swaps them; None if it is not one of two axes."""
    flat = tuple(axes[0]) if len(axes) == 1 and not isinstance(axes[0], int) else axes
    if len(flat) != 2 or not all(isinstance(axis, int) for axis in flat):
        return None
    return tuple(axis % 2 for axis in flat) == (1, 0)


_T = torch.Tensor
_FLIPS = {torch.t, _T.t, torch.adjoint, _T.adjoint} | {p.__get__ for p in (_T.T, _T.mT, _T.H, _T.mH)}  # type: ignore[attr-defined]
_SWAPS = {torch.transpose, _T.transpose, torch.swapaxes, _T.swapaxes, torch.swapdims, _T.swapdims}
_PERMUTES = {torch.permute, _T.permute}
_RESHAPES = {
    *(torch.reshape, torch.flatten, torch.ravel, torch.squeeze, torch.unsqueeze, torch.unflatten, torch.clone),
    *(_T.reshape, _T.flatten, _T.ravel, _T.squeeze, _T.unsqueeze, _T.unflatten, _T.clone),
    *(_T.view, _T.view_as, _T.reshape_as, _T.contiguous, _T.to),
}
VIEWS = frozenset(_FLIPS | _SWAPS | _PERMUTES | _RESHAPES)
"""Functions whose first argument is the tensor that they show in another shape."""


def derived(func: Any, view: View, source: Tensor, result: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> View | None:
    """What ``result = func(source, *rest, **named)`` is if ``source`` is ``view``; None if it is no longer a view."""
    if not isinstance(result, Tensor) or (result.dtype, result.device) != (source.dtype, source.device):
        return None
    axes = rest + tuple(named.values())
    if func in _SWAPS:
        if source.ndim != 2 or len(axes) != 2:
            return None
        return _transposed(view, result) if (axes[0] - axes[1]) % 2 else _reshaped(view, result)
    if func in _PERMUTES:
        swapped = _permuted(*axes) if source.ndim == 2 else None
        return None if swapped is None else (_transposed if swapped else _reshaped)(view, result)
    return (_transposed if func in _FLIPS else _reshaped)(view, result)
