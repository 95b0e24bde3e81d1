"""A deep linear network with squared error: K-FAC is exact for any number of examples."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..scenario import Exact, Scenario
from .assemble import assemble
from .output_terms import gaussian

Array = Any

_EXACT = Exact(
    "kfac",
    ("fisher", "ggn"),
    "blocks",
    "deep linear network with squared error: g does not depend on the example, so E[a aᵀ ⊗ g gᵀ] = E[a aᵀ] ⊗ E[g gᵀ] "
    "(Bernacchia, Lengyel and Hennequin 2018)",
)


def _apply(params: Any, x: Array) -> Array:
    for weight, bias in params:
        x = x @ weight + bias
    return x


def deep_linear() -> Scenario:
    """f = ((x, 1) A, 1) B, 1) C: multilinear, so its second derivatives are products of what is left out."""
    rng = np.random.default_rng(6)
    d0, d1, d2, d3 = 3, 3, 2, 2
    a, b, c = (0.8 * rng.standard_normal(shape) for shape in ((d0 + 1, d1), (d1 + 1, d2), (d2 + 1, d3)))
    n = 6
    x, one = rng.standard_normal((n, d0)), np.ones((n, 1))
    h0 = np.concatenate([x, one], axis=1)
    h1 = np.concatenate([h0 @ a, one], axis=1)
    h2 = np.concatenate([h1 @ b, one], axis=1)
    f = h2 @ c
    y = f + 0.6 * rng.standard_normal(f.shape)
    # The rows of weights, without biases, through which earlier layers act.
    b_, c_, e1, e2, e3 = b[:-1], c[:-1], np.eye(d1, d1 + 1), np.eye(d2, d2 + 1), np.eye(d3)
    first = np.einsum("ni,jk,kc->ncij", h0, b_, c_).reshape(n, d3, -1)
    second = np.einsum("nj,kc->ncjk", h1, c_).reshape(n, d3, -1)
    third = np.einsum("nk,dc->nckd", h2, e3).reshape(n, d3, -1)
    p, q, r = first.shape[2], second.shape[2], third.shape[2]
    curvature = np.zeros((n, d3, p + q + r, p + q + r))
    curvature[:, :, :p, p : p + q] = np.einsum("ni,jl,kc->ncijlk", h0, e1, c_).reshape(n, d3, p, q)
    curvature[:, :, :p, p + q :] = np.einsum("ni,jk,kl,dc->ncijld", h0, b_, e2, e3).reshape(n, d3, p, r)
    curvature[:, :, p : p + q, p + q :] = np.einsum("nj,kl,dc->ncjkld", h1, e2, e3).reshape(n, d3, q, r)
    curvature = curvature + curvature.transpose(0, 1, 3, 2)
    return Scenario(
        "deep-linear/squared-error",
        "three affine layers with squared error of variance 0.5: every layer's block is a Kronecker product",
        _apply,
        [(m[:-1], m[-1]) for m in (a, b, c)],
        cv.Gaussian(variance=0.5),
        x,
        y,
        assemble(np.concatenate([first, second, third], axis=2), gaussian(f, y, 0.5), second=curvature),
        tuple((f"{i}.0", f"{i}.1") for i in range(3)),
        theorems=(_EXACT,),
    )
