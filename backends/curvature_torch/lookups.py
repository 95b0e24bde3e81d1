"""Functions of torch that look up rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Rows = tuple[Any, Tensor, int | None]


def _embedding(
    input: Tensor,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Rows | None:
    # max_norm rewrites the table, and scale_grad_by_freq gives something other than a derivative.
    return None if max_norm is not None or scale_grad_by_freq or sparse else (weight, input, padding_idx)


def _plain_embedding(
    weight: Any, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Rows | None:
    return None if scale_grad_by_freq or sparse else (weight, indices, None if padding_idx == -1 else padding_idx)


LOOKUPS: Mapping[Any, Callable[..., Rows | None]] = {F.embedding: _embedding, torch.embedding: _plain_embedding}
"""For each of them (table, numbers of the rows, number of the row that gets no gradient), or None for special ones."""
