"""Functions of torch that hide several others, written in functions that a recorder sees.

They are called only while parameters are being looked for: results agree with torch's own to rounding. One that cannot do
what is asked returns NotImplemented, and torch's own is called (and named as what was not understood).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import multi_head_attention
from .recurrent import CELLS, SEQUENCES

Maybe = Tensor | None


def _affine(x: Tensor, weight: Maybe, bias: Maybe) -> Tensor:
    """x ∘ w + b."""
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def _per_channel(x: Tensor, weight: Maybe, bias: Maybe) -> Tensor:
    """x ∘ w + b for channels on the second axis."""
    shape = (-1, *[1] * (x.ndim - 2))
    return _affine(x, None if weight is None else weight.reshape(shape), None if bias is None else bias.reshape(shape))


def _layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Maybe = None, bias: Maybe = None, eps: float = 1e-5
) -> Tensor:
    return _affine(F.layer_norm(input, normalized_shape, None, None, eps), weight, bias)


def _rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Maybe = None, eps: float | None = None) -> Tensor:
    return _affine(F.rms_norm(input, normalized_shape, None, eps), weight, None)


def _group_norm(input: Tensor, num_groups: int, weight: Maybe = None, bias: Maybe = None, eps: float = 1e-5) -> Tensor:
    return _per_channel(F.group_norm(input, num_groups, None, None, eps), weight, bias)


def _batch_norm(
    input: Tensor,
    running_mean: Maybe,
    running_var: Maybe,
    weight: Maybe = None,
    bias: Maybe = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return _per_channel(F.batch_norm(input, running_mean, running_var, None, None, training, momentum, eps), weight, bias)


def _instance_norm(
    input: Tensor,
    running_mean: Maybe = None,
    running_var: Maybe = None,
    weight: Maybe = None,
    bias: Maybe = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    normalised = F.instance_norm(input, running_mean, running_var, None, None, use_input_stats, momentum, eps)
    return _per_channel(normalised, weight, bias)


def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    positive = torch.relu(input)
    slope = weight.reshape(-1, *[1] * (input.ndim - 2)) if input.ndim > 1 else weight
    return positive + (input - positive) * slope


WRITTEN_OUT: Mapping[Any, Callable[..., Any]] = {
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    **dict.fromkeys((F.prelu, torch.prelu), _prelu),
    F.rms_norm: _rms_norm,
    F.multi_head_attention_forward: multi_head_attention,
    **CELLS,
    **SEQUENCES,
}
"""What to call in their place."""
