"""Scaled dot-product attention with several heads, alone and with its projections."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import array_api_compat

from ..backend import namespace
from ..errors import DataError, ShapeError
from .activations import softmax
from .affine import layer

Array = Any


def attention(q: Array, k: Array, v: Array, *, heads: int = 1, mask: Array | None = None, causal: bool = False) -> Array:
    """softmax(q kᵀ / √d) v for each head.

    Args:
        q: queries, (N, T, heads · d), the numbers of one head next to each other.
        k, v: keys and values, (N, S, heads · d).
        mask: booleans that broadcast to (N, heads, T, S), True where a query may see a key; or None. (Padding (N, S) is
            the mask ``padding[:, None, None, :]``.) A query that may see nothing gets zeros.
        causal: the i-th query sees the keys up to the i-th only, besides what the mask says.

    Returns:
        (N, T, heads · d).

    Raises:
        ShapeError: the shapes do not fit.
        DataError: a mask that is not boolean.
        MixedBackendError: arrays of two libraries.

    Source: Vaswani et al. (2017).
    """
    xp = namespace(q, k, v, mask)
    _check(xp, q, k, v, heads, mask)
    n, t, width = q.shape
    q, k, v = (_split(xp, x, heads) for x in (q, k, v))
    y = xp.matmul(_weights(xp, q, k, mask, causal), v)
    return xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (n, t, width))


def self_attention(
    params: Mapping[str, Mapping[str, Array]], x: Array, *, heads: int = 1, mask: Array | None = None, causal: bool = False
) -> Array:
    """Attention of a sequence to itself: queries, keys and values are affine maps of it, and so is the result.

    Args:
        params: affine maps, each {"weight": (d_out, d_in), "bias": (d_out,)} with or without the bias: "query", "key",
            "value" and "out"; or "qkv" (the first three on top of one another, (3 · width, d_in)) and "out".
        x: (N, T, d_in).
        heads, mask, causal: as for ``attention``.

    Returns:
        (N, T, d_out of "out").

    Raises:
        ShapeError: other parameters, or shapes that do not fit.
        DataError, MixedBackendError: as ``attention`` does.
    """
    names = set(params)
    if names == {"qkv", "out"}:
        fused = layer(params["qkv"], x)
        width, rest = divmod(fused.shape[-1], 3)
        if rest:
            raise ShapeError(f'self_attention: "qkv" has {fused.shape[-1]} outputs, expected three times the width')
        q, k, v = (fused[..., i * width : (i + 1) * width] for i in range(3))
    elif names == {"query", "key", "value", "out"}:
        q, k, v = (layer(params[name], x) for name in ("query", "key", "value"))
    else:
        raise ShapeError(
            f'self_attention: the parameters are {sorted(names)}, expected "query", "key", "value", "out", or "qkv", "out"'
        )
    return layer(params["out"], attention(q, k, v, heads=heads, mask=mask, causal=causal))


def _split(xp: Any, x: Array, heads: int) -> Array:
    """(N, heads, T, d) from (N, T, heads · d)."""
    n, t, width = x.shape
    return xp.permute_dims(xp.reshape(x, (n, t, heads, width // heads)), (0, 2, 1, 3))


def _weights(xp: Any, q: Array, k: Array, mask: Array | None, causal: bool) -> Array:
    """softmax(q kᵀ / √d) over what may be seen, (N, heads, T, S)."""
    scores = xp.matmul(q, xp.matrix_transpose(k)) * (1 / math.sqrt(q.shape[-1]))
    if causal:
        device = array_api_compat.device(q)
        rows = xp.arange(scores.shape[-2], device=device)
        columns = xp.arange(scores.shape[-1], device=device)
        past = xp.expand_dims(columns, axis=0) <= xp.expand_dims(rows, axis=1)
        mask = past if mask is None else xp.logical_and(mask, past)
    if mask is None:
        return softmax(scores)
    # Masked before and after the exponential: -inf would give NaN where a query may see nothing.
    scores = xp.where(mask, scores, xp.full_like(scores, float(xp.finfo(scores.dtype).min)))
    weights = xp.where(mask, xp.exp(scores - xp.max(scores, axis=-1, keepdims=True)), xp.zeros_like(scores))
    total = xp.sum(weights, axis=-1, keepdims=True)
    return weights / xp.where(total > 0, total, xp.ones_like(total))


def _check(xp: Any, q: Array, k: Array, v: Array, heads: int, mask: Array | None) -> None:
    shapes = tuple(tuple(int(m) for m in x.shape) for x in (q, k, v))
    if any(len(shape) != 3 for shape in shapes):
        raise ShapeError(f"attention: q, k and v have shapes {shapes[0]}, {shapes[1]}, {shapes[2]}, expected (N, T, heads · d)")
    (n, t, width), (_, s, _), _ = shapes
    if shapes[1] != (n, s, width) or shapes[2] != (n, s, width) or t == 0 or s == 0:
        raise ShapeError(
            f"attention: q, k and v have shapes {shapes[0]}, {shapes[1]}, {shapes[2]}, expected ({n}, T, {width}) for q and "
            f"({n}, S, {width}) for k and v, with at least one position each"
        )
    if heads < 1 or width == 0 or width % heads:
        raise ShapeError(f"attention: a width of {width} does not divide into heads={heads}")
    if mask is None:
        return
    if not xp.isdtype(mask.dtype, "bool"):
        raise DataError(f"attention: the mask has dtype {mask.dtype}, expected booleans, True where a query may see a key")
    full, shape = (n, heads, t, s), tuple(int(m) for m in mask.shape)
    if len(shape) > 4 or any(m not in (1, whole) for m, whole in zip(shape[::-1], full[::-1], strict=False)):
        raise ShapeError(
            f"attention: a mask of shape {shape} does not broadcast to (N, heads, T, S) = {full}; padding (N, S) is the mask "
            f"padding[:, None, None, :]"
        )
