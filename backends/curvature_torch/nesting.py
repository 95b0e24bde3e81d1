"""Where a derivative is being taken: at the top, inside another of ours, or inside a transform of torch.func.

At the top parameters are detached, so whatever the caller's tensors require is left alone and results carry no graph.
Inside another derivative nothing may be detached, or the outer one would silently be zero. Inside ``torch.func``
transforms ``torch.autograd`` cannot be used at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .support import supported

_depth: ContextVar[int] = ContextVar("curvature_torch_depth", default=0)


class Place(Enum):
    """Where a derivative is being taken."""

    TOP = "top"
    NESTED = "nested"
    FUNCTIONAL = "functional"


def place(arrays: Sequence[Tensor]) -> Place:
    """Where a derivative with respect to ``arrays`` is being taken."""
    if _inside_torch_func():
        return Place.FUNCTIONAL
    if inside() or any(has_tangent(a) for a in arrays):
        return Place.NESTED
    return Place.TOP


def inside() -> bool:
    """Whether a function that we differentiate is running now."""
    return _depth.get() > 0


def _inside_torch_func() -> bool:
    # No public question exists, but torch.func forbids this call (and only torch.func does).
    try:
        torch.empty(0).requires_grad_()
    except RuntimeError:
        return True
    return False


def has_tangent(x: Tensor) -> bool:
    """Whether ``x`` carries a tangent of forward-mode differentiation."""
    return forward_ad.unpack_dual(x).tangent is not None


@contextmanager
def differentiating(*, once: bool = False) -> Iterator[None]:
    """The function which is being differentiated (only ``once``, or maybe again) runs now; what it calls is nested."""
    token = _depth.set(_depth.get() + 1)
    try:
        with supported(once=once):
            yield
    finally:
        _depth.reset(token)


@contextmanager
def recording() -> Iterator[None]:
    """Operations are recorded for reverse mode, also where the caller has switched that off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def detached(x: Tensor) -> Tensor:
    """``x`` without its history (copied only if it was made in inference mode, which forbids derivatives)."""
    if not x.is_inference():
        return x.detach()
    with torch.inference_mode(False):  # within that mode a copy would be no better
        return x.clone()


def variables(arrays: Sequence[Tensor], nested: bool) -> list[Tensor]:
    """Tensors with the values of ``arrays`` that require gradients and alias no other occurrence of them.

    At the top they are leaves. Nested ones keep history and tangents; the alias (a view) means that only what goes
    through these arguments is differentiated, not what the function closes over.
    """
    if not nested:
        return [detached(a).requires_grad_() for a in arrays]
    aliases = [a.view_as(a) for a in arrays]
    return [a if a.requires_grad else a.requires_grad_() for a in aliases]
