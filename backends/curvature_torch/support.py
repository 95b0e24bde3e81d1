"""What torch has no second derivative of: done another way where there is one, and otherwise refused with a remedy."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.backends import cuda

import curvature as cv

_NO_DERIVATIVE = re.compile(r"derivative for '?([\w:.]+?)'? is not implemented")
_INFERENCE = re.compile(r"inference tensors? (cannot|do not|outside)", re.IGNORECASE)

_MARKED = once_differentiable(lambda ctx: None).__code__
"""Code of every backward pass that is marked with @once_differentiable."""

_KERNELS = (
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
    (cuda.math_sdp_enabled, cuda.enable_math_sdp),
)
"""Switches of ``scaled_dot_product_attention``, on every device in spite of their module's name; plain operations last."""

_lock = threading.Lock()
_plain_users = 0
_caller_wants: list[bool] = []


@contextmanager
def supported(*, once: bool = False) -> Iterator[None]:
    """Around what records for, or takes, derivatives: attention can be differentiated twice, and refusals say what to do.

    Args:
        once: nothing will be differentiated again, so the fused kernels of attention do.
    """
    with nullcontext() if once else _plain_attention():
        try:
            yield
        except RuntimeError as error:
            refusal = None if isinstance(error, cv.CurvatureError) else _refusal(str(error))
            if refusal is None:
                raise
            raise refusal from error


def require_second_derivatives(outputs: Sequence[Tensor]) -> None:
    """Refuse a graph with a custom function whose backward pass is marked with @once_differentiable.

    Torch cuts the graph there: a second derivative raises if the cut lies between what is asked for, and is silently
    zero otherwise, as for the pull-back with respect to its cotangent.

    Raises:
        UnsupportedError: it has one.
    """
    for node in nodes_below(outputs):
        function = getattr(type(node), "_forward_cls", None)
        if function is not None and _is_marked(function.backward):
            raise cv.UnsupportedError(
                f"the backward pass of {function.__qualname__} is marked with @once_differentiable, and this needs a second "
                f"derivative; remove the mark and write the pass with operations that can be differentiated"
            )


def refuse_wrong_hessians(outputs: Sequence[Tensor]) -> None:
    """Refuse a graph through which torch's gradients are right and their derivatives are not.

    Raises:
        UnsupportedError: it has weight normalisation by torch's own function, in torch 2.13 at least.
    """
    if any(type(node).__name__.startswith("WeightNormInterface") for node in nodes_below(outputs)):
        raise cv.UnsupportedError(
            "torch's second derivative of weight normalisation (torch._weight_norm) is wrong; write the weight as "
            "v * (g / torch.linalg.vector_norm(v, dim=…, keepdim=True)), in a parametrization of your own for example"
        )


def nodes_below(outputs: Sequence[Tensor]) -> Iterator[Any]:
    """All nodes of the graphs of ``outputs``, each once."""
    waiting: list[Any] = [y.grad_fn for y in outputs if y.grad_fn is not None]
    visited = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in visited:
                visited.add(following)
                waiting.append(following)


def _is_marked(backward: Any) -> bool:
    while backward is not None:
        if getattr(backward, "__code__", None) is _MARKED:
            return True
        backward = getattr(backward, "__wrapped__", None)
    return False


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by products and a softmax: the fused kernels have neither a second derivative nor forward mode.

    This is ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``, with two differences. Torch has one setting for all
    threads, so the first to come saves what the caller wants and the last to go restores it; each restoring what it
    found could leave the fused kernels off for good. And this costs 3 µs rather than 18, for each backward pass too
    (which evaluates again what is checkpointed, and must do so in the way of the forward pass).
    """
    global _plain_users, _caller_wants
    with _lock:
        if not _plain_users:
            _caller_wants = [enabled() for enabled, _ in _KERNELS]
            _set([False] * (len(_KERNELS) - 1) + [True])
        _plain_users += 1
    try:
        yield
    finally:
        with _lock:
            _plain_users -= 1
            if not _plain_users:
                _set(_caller_wants)


def _set(wanted: list[bool]) -> None:
    for (_, enable), on in zip(_KERNELS, wanted, strict=True):
        enable(on)


def _refusal(message: str) -> cv.CurvatureError | None:
    """What torch's message means for our caller, if it is one of those."""
    missing = _NO_DERIVATIVE.search(message)
    if missing is not None:
        return cv.UnsupportedError(f"PyTorch has no derivative of {missing[1]}, which this needs; {_remedy(missing[1])}")
    if _INFERENCE.search(message):
        return cv.DataError(
            "the function uses a tensor that was made under torch.inference_mode(), with which PyTorch takes no "
            "derivatives; make the data outside of inference mode, or copy it outside: x = x.clone()"
        )
    return None


def _remedy(operation: str) -> str:
    if "scaled_dot_product" in operation:
        return (
            "evaluate the attention under torch.nn.attention.sdpa_kernel(SDPBackend.MATH), and do not ask for another "
            "kernel inside of the function"
        )
    if "transformer_encoder_layer_fwd" in operation or "native_multi_head_attention" in operation:
        return "switch the fused layers off: torch.backends.mha.set_fastpath_enabled(False)"
    return (
        "write that part of the function with other operations, or as a torch.autograd.Function whose backward can be "
        "differentiated"
    )
