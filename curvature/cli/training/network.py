"""The multilayer perceptron that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ...backend import Backend, namespace
from ...problem import Model

Array = Any
Tree = Any


def apply(params: Tree, x: Array) -> Array:
    """Logits: tanh after every layer but the last."""
    xp = namespace(x)
    *hidden, last = params["layers"]
    for layer in hidden:
        x = xp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ last["weight"] + last["bias"]


def perceptron(backend: Backend, widths: Sequence[int], seed: int) -> Model:
    """Layers of the given widths, input first. Weights have variance 1 / (inputs of the layer), biases are zero."""
    rng = backend.rng(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        weight = rng.normal((inputs, outputs), dtype="float64") * inputs**-0.5
        layers.append({"weight": weight, "bias": weight[0, ...] * 0.0})
    return Model(apply, {"layers": layers})


def accuracy(outputs: Array, y: Array) -> float:
    """Share of the examples whose largest logit is that of their label."""
    xp = namespace(outputs)
    return float(xp.mean(xp.astype(xp.argmax(outputs, axis=1) == y, xp.float64)))
