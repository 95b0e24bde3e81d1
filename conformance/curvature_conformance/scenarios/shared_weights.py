"""Parameters that enter more than once: a weight applied twice, and a scale and shift shared between positions."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv
from curvature import nn

from ..scenario import Scenario
from . import layer_formulas as formulas
from .assemble import assemble
from .output_terms import categorical
from .taylor import Taylor, derivatives, tanh

Array = Any


def _twice(params: Any, x: Array) -> Array:
    shared, head = params["shared"], params["head"]
    h = nn.linear(x, shared["weight"], shared["bias"])
    xp = cv.namespace(h)
    h = xp.tanh(nn.linear(xp.tanh(h), shared["weight"], shared["bias"]))
    return nn.linear(h, head["weight"], head["bias"])


def _reference_twice(params: Any, x: np.ndarray) -> Taylor:
    h = tanh(formulas.affine(params["shared"], x[None]))
    h = tanh(formulas.affine(params["shared"], h))
    return formulas.affine(params["head"], h)[0]


def applied_twice() -> Scenario:
    """f = B tanh(W tanh(W x + b) + b) + c: two steps of a recurrent network."""
    rng = np.random.default_rng(16)
    params = {
        "head": {"weight": rng.standard_normal((2, 3)), "bias": 0.3 * rng.standard_normal(2)},
        "shared": {"weight": 0.8 * rng.standard_normal((3, 3)), "bias": 0.3 * rng.standard_normal(3)},
    }
    n = 6
    x, y = rng.standard_normal((n, 3)), rng.integers(0, 2, n)
    outputs = derivatives(_reference_twice, params, x)
    return Scenario(
        "shared-weights/applied-twice",
        "a square weight and its bias applied twice in a row: one layer with two uses, each with inputs of its own",
        _twice,
        params,
        cv.Categorical(),
        x,
        y,
        assemble(outputs.first, categorical(outputs.value, y), outputs.second),
        (("shared.weight", "shared.bias"), ("head.weight", "head.bias")),
    )


def _scale_and_shift(params: Any, x: Array) -> Array:
    h = nn.layer_norm(x, params["norm"]["weight"], params["norm"]["bias"])
    xp = cv.namespace(h)
    return xp.mean(xp.tanh(h), axis=1)


def _reference_scale_and_shift(params: Any, x: np.ndarray) -> Taylor:
    deviation = x - x.mean(axis=1, keepdims=True)
    unit = deviation / np.sqrt((deviation**2).mean(axis=1, keepdims=True) + 1e-5)
    return tanh(formulas.scaled(params["norm"], unit)).sum(0) * (1 / len(x))


def scale_and_shift() -> Scenario:
    """f_c = mean_t tanh(w_c x̂_tc + b_c) with x̂_t = (x_t - mean) / √(variance + ε): nothing but a LayerNorm's parameters."""
    rng = np.random.default_rng(17)
    params = {"norm": {"weight": 1 + 0.4 * rng.standard_normal(3), "bias": 0.4 * rng.standard_normal(3)}}
    n = 6
    x, y = rng.standard_normal((n, 4, 3)), rng.integers(0, 3, n)
    outputs = derivatives(_reference_scale_and_shift, params, x)
    return Scenario(
        "scale-and-shift/layer-norm",
        "a LayerNorm's scale and shift, shared between four positions, and no other parameters",
        _scale_and_shift,
        params,
        cv.Categorical(),
        x,
        y,
        assemble(outputs.first, categorical(outputs.value, y), outputs.second),
        (("norm.weight", "norm.bias"),),
    )
