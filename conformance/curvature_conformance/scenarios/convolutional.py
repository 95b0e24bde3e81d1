"""Small convolutional networks; their references come from Taylor arithmetic over loops."""

from __future__ import annotations

from collections.abc import Callable
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


def _network(stride: int, groups: int) -> Callable[[Any, Array], Array]:
    def apply(params: Any, x: Array) -> Array:
        first, second, head = params["first"], params["second"], params["head"]
        h = nn.conv2d(x, first["weight"], first["bias"], stride=stride, padding=1)
        xp = cv.namespace(h)
        h = xp.tanh(nn.conv2d(xp.tanh(h), second["weight"], second["bias"], stride=2, groups=groups))
        return nn.linear(xp.mean(h, axis=(2, 3)), head["weight"], head["bias"])

    return apply


def _reference(stride: int, groups: int) -> Callable[[Any, np.ndarray], Taylor]:
    def forward(params: Any, x: np.ndarray) -> Taylor:
        h = tanh(formulas.convolution(params["first"], x, stride=stride, padding=1))
        h = tanh(formulas.convolution(params["second"], h, stride=2, padding=0, groups=groups))
        channels, rows, columns = h.shape
        pooled = h.sum(2).sum(1) * (1 / (rows * columns))
        return formulas.affine(params["head"], pooled.reshape(1, channels))[0]

    return forward


def _scenario(name: str, summary: str, shapes: dict[str, tuple[int, ...]], stride: int, groups: int, seed: int) -> Scenario:
    rng = np.random.default_rng(seed)
    params = {
        name: {"weight": 0.6 * rng.standard_normal(shape), "bias": 0.3 * rng.standard_normal(shape[0])}
        for name, shape in shapes.items()
    }
    n = 4
    x, y = rng.standard_normal((n, shapes["first"][1], 6, 5)), rng.integers(0, 3, n)
    outputs = derivatives(_reference(stride, groups), params, x)
    return Scenario(
        name,
        summary,
        _network(stride, groups),
        params,
        cv.Categorical(),
        x,
        y,
        assemble(outputs.first, categorical(outputs.value, y), outputs.second),
        tuple((f"{part}.weight", f"{part}.bias") for part in shapes),
    )


def plain() -> Scenario:
    """Two convolutions, one with padding and one with a stride, the mean over positions, and a dense head."""
    return _scenario(
        "convolutional-network/plain",
        "two convolutions with padding and strides, pooled by their mean: weights that are shared between positions",
        {"first": (3, 1, 3, 3), "second": (2, 3, 2, 2), "head": (3, 2)},
        stride=2,
        groups=1,
        seed=12,
    )


def grouped() -> Scenario:
    """The second convolution in two groups."""
    return _scenario(
        "convolutional-network/grouped",
        "the second of two convolutions has two groups of channels: its kernel is no matrix of a linear map",
        {"first": (4, 1, 2, 2), "second": (4, 2, 2, 2), "head": (3, 4)},
        stride=1,
        groups=2,
        seed=13,
    )
