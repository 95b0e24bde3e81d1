"""Attention with several heads (Vaswani et al. 2017), whose projections ``torch.nn.functional`` hides in one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Maybe = Tensor | None


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Maybe,
    bias_k: Maybe,
    bias_v: Maybe,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Maybe,
    training: bool = True,
    key_padding_mask: Maybe = None,
    need_weights: bool = True,
    attn_mask: Maybe = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Maybe = None,
    k_proj_weight: Maybe = None,
    v_proj_weight: Maybe = None,
    static_k: Maybe = None,
    static_v: Maybe = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """``torch.nn.functional.multi_head_attention_forward`` of (T, N, d), examples first inside; (outputs, weights)."""
    if query.ndim != 3 or static_k is not None or static_v is not None:
        return NotImplemented
    inputs = [x.transpose(0, 1) for x in (query, key, value)]
    if not use_separate_proj_weight and query is key and key is value:
        q, k, v = F.linear(inputs[0], in_proj_weight, in_proj_bias).chunk(3, dim=-1)
    else:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight.chunk(3)
        biases: Any = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, weight, bias) for x, weight, bias in zip(inputs, weights, biases, strict=True))
    if bias_k is not None and bias_v is not None:
        k = torch.cat([k, bias_k.expand(len(k), -1, -1)], dim=1)
        v = torch.cat([v, bias_v.expand(len(v), -1, -1)], dim=1)
    if add_zero_attn:
        k, v = (torch.cat([x, torch.zeros_like(x[:, :1])], dim=1) for x in (k, v))
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    # A mask that is said to be causal is there in full: whoever says so has given it.
    mask = _mask(q, k, key_padding_mask, attn_mask)
    dropout = dropout_p if training else 0.0
    scores, found = None, None
    if need_weights:
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        found = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        found = F.dropout(found, dropout) if dropout else found
        heads = torch.matmul(found, v)
    else:
        heads = F.scaled_dot_product_attention(q, k, v, mask, dropout)
    outputs = F.linear(heads.transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias).transpose(0, 1)
    if found is not None and average_attn_weights:
        found = found.mean(dim=1)
    return outputs, found


def _mask(q: Tensor, k: Tensor, padding: Maybe, attention: Maybe) -> Maybe:
    """What is added to the scores (N, heads, T, S), from the masks of ``nn.MultiheadAttention``; None for nothing."""
    n, heads, length, extra = q.shape[0], q.shape[1], q.shape[2], k.shape[2]
    total: Maybe = None
    if attention is not None:
        full = _additive(attention, q, extra)
        total = full if full.ndim == 2 else full.reshape(n, heads, length, extra)
    if padding is not None:
        blocked = _additive(padding, q, extra)[:, None, None, :]
        total = blocked if total is None else total + blocked
    return total


def _additive(mask: Tensor, like: Tensor, length: int) -> Tensor:
    """A mask as numbers, nothing being masked in the positions that were appended."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    return F.pad(mask, (0, length - mask.shape[-1]))
