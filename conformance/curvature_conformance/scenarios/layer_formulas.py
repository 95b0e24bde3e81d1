"""Layers of one example in Taylor arithmetic, by loops and sums: the references of scenarios that use ``curvature.nn``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .taylor import Taylor, contract, exp, power, stack, tanh


def affine(params: dict[str, Taylor], x: Taylor | np.ndarray) -> Taylor:
    """W x_t + b of every row x_t of (T, d_in); the bias may be absent."""
    y = contract("ti,oi->to", x, params["weight"])
    return y + params["bias"] if "bias" in params else y


def convolution(params: dict[str, Taylor], x: Taylor | np.ndarray, *, stride: int, padding: int, groups: int = 1) -> Taylor:
    """(c_out, H', W') from (c_in, H, W): the sum over the kernel's entries of what they meet, shifted."""
    weight, bias = params["weight"], params["bias"]
    image = _padded(x, padding)
    (c_out, depth, height, width), parts = weight.shape, []
    rows, columns = ((length - size) // stride + 1 for length, size in zip(image.shape[1:], (height, width), strict=True))
    for group in range(groups):
        seen = image[group * depth : (group + 1) * depth]
        kernel = weight[group * (c_out // groups) : (group + 1) * (c_out // groups)]
        terms = [
            contract(
                "chw,oc->ohw",
                seen[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride],
                kernel[:, :, i, j],
            )
            for i in range(height)
            for j in range(width)
        ]
        parts.append(sum(terms[1:], start=terms[0]))
    return stack(parts).reshape(c_out, rows, columns) + bias.reshape(c_out, 1, 1)


def _padded(x: Any, padding: int) -> Any:
    def pad(a: np.ndarray) -> np.ndarray:
        return np.pad(a, [(0, 0), (padding, padding), (padding, padding), *[(0, 0)] * (a.ndim - 3)])

    return Taylor(pad(x.value), pad(x.first), pad(x.second)) if isinstance(x, Taylor) else pad(x)


def normalised(x: Taylor, eps: float = 1e-5) -> Taylor:
    """(x - mean) / √(variance + ε) of every row of (T, d)."""
    t, d = x.shape
    deviation = x - (x.sum(1) * (1 / d)).reshape(t, 1)
    variance = contract("td,td->t", deviation, deviation) * (1 / d)
    return contract("td,t->td", deviation, power(variance + eps, -0.5))


def scaled(params: dict[str, Taylor], x: Taylor | np.ndarray) -> Taylor:
    """w ∘ x_t + b of every row."""
    return contract("td,d->td", x, params["weight"]) + params["bias"]


def gelu(x: Taylor) -> Taylor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    v = x.value
    inner = (x + x.apply(v**3, 3 * v**2, 6 * v) * 0.044715) * math.sqrt(2 / math.pi)
    return contract("td,td->td", x, tanh(inner) + 1.0) * 0.5


def causal_attention(q: Taylor, k: Taylor, v: Taylor, heads: int) -> Taylor:
    """Each row of (T, width) sees those up to itself: head by head and query by query, so that nothing is masked."""
    t, width = q.shape
    d = width // heads
    rows = []
    for query in range(t):
        seen = slice(0, query + 1)
        parts = []
        for head in range(heads):
            own = slice(head * d, (head + 1) * d)
            weights = exp(contract("d,sd->s", q[query, own], k[seen, own]) * (1 / math.sqrt(d)))
            weights = contract("s,->s", weights, power(weights.sum(0), -1.0))
            parts.append(contract("s,sd->d", weights, v[seen, own]))
        rows.append(stack(parts).reshape(width))
    return stack(rows)
