"""The networks of the benchmarks, with random data, float32; weights are stored as PyTorch stores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import curvature as cv
from curvature import nn

CLASSES = 10


@dataclass(frozen=True)
class Network:
    """A classifier.

    Attributes:
        name: "mlp" or "cnn".
        summary: what it is, in a line.
        weights: shape of each layer's weight, (d_out, …).
        strides: of each layer: 0 for a dense one, otherwise that of its convolution, whose padding is 1.
        batch: examples.
        inputs: shape of one of them.
        apply: the network, in the Array API.
    """

    name: str
    summary: str
    weights: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    batch: int
    inputs: tuple[int, ...]
    apply: Callable[[Any, Any], Any]

    def parameters(self, dtype: str = "float32") -> list[dict[str, Any]]:
        """He-initialised weights and small biases."""
        rng = np.random.default_rng(0)
        return [
            {
                "weight": (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(dtype),
                "bias": (0.01 * rng.standard_normal(shape[0])).astype(dtype),
            }
            for shape in self.weights
        ]

    def data(self, dtype: str = "float32") -> tuple[Any, Any]:
        """Inputs (N, …) and labels (N,)."""
        rng = np.random.default_rng(1)
        return rng.standard_normal((self.batch, *self.inputs)).astype(dtype), rng.integers(0, CLASSES, self.batch)


def _mlp(params: list[dict[str, Any]], x: Any) -> Any:
    return nn.mlp(params, x, nn.relu)


def _cnn(params: list[dict[str, Any]], x: Any) -> Any:
    for layer in params[:-1]:
        x = nn.relu(nn.conv2d(x, layer["weight"], layer["bias"], stride=2, padding=1))
    head = params[-1]
    return nn.linear(cv.namespace(x).reshape(x, (x.shape[0], -1)), head["weight"], head["bias"])


_SIZES = (784, 512, 512, CLASSES)
_FEW = (64, 32, 32, CLASSES)

NETWORKS = {
    network.name: network
    for network in (
        Network(
            "mlp",
            "784-512-512-10 ReLU, batch 256, float32",
            tuple((out, inp) for inp, out in pairwise(_SIZES)),
            (0, 0, 0),
            256,
            (_SIZES[0],),
            _mlp,
        ),
        Network(
            "small",
            "64-32-32-10 ReLU, batch 256, float32",
            tuple((out, inp) for inp, out in pairwise(_FEW)),
            (0, 0, 0),
            256,
            (_FEW[0],),
            _mlp,
        ),
        Network(
            "cnn",
            "conv16-conv32-dense ReLU (kernels 3×3, stride 2) on 28×28, batch 128, float32",
            ((16, 1, 3, 3), (32, 16, 3, 3), (CLASSES, 32 * 7 * 7)),
            (2, 2, 0),
            128,
            (1, 28, 28),
            _cnn,
        ),
    )
}
