"""A deep autoencoder of images of curves, after the CURVES of Hinton and Salakhutdinov (2006), which are not at hand.

An image shows a curve through three points that are uniform in [6, 21]², quadratic in t = 0, ½, 1, on 28 × 28 pixels, drawn with
a Gaussian stroke of σ = 0.7 pixels: exp(-d² / 2σ²), d the distance of a pixel to the nearest of 50 points of the curve. 20,000
are for training, 10,000 for testing. Their principal components leave the squared errors 5.96 (18 of them; 5.90 for CURVES) and
10.2 (6 of them).

The network is 784-400-200-100-50-25-6-25-50-100-200-400-784 (842,340 parameters), logistic units and a linear code; 15 incoming
weights of each unit are N(0, 1) at the start, the others and the biases zero (Martens 2010). The objective is the Bernoulli
cross-entropy of the pixels and ½ · 1e-5 · ‖θ‖²; the error is the squared error of an image, on the training set.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .layered import LayeredProblem, Layers

SIZES = (784, 400, 200, 100, 50, 25, 6, 25, 50, 100, 200, 400, 784)
TRAIN, TEST, VERSION = 20_000, 10_000, 2


def images(number: int, seed: int = 0, *, sigma: float = 0.7, dots: int = 50) -> np.ndarray:
    """Images (number, 784) in [0, 1], float32."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(6, 21, (number, 3, 2))
    t = np.linspace(0, 1, dots)
    basis = np.stack([(2 * t - 1) * (t - 1), 4 * t * (1 - t), t * (2 * t - 1)], axis=1)
    path = basis @ corners
    across = np.exp(-((np.arange(28) - path[..., None]) ** 2) / (2 * sigma**2)).astype(np.float32)  # (number, dots, 2, 28)
    drawn = np.zeros((number, 28, 28), dtype=np.float32)
    for first in range(0, number, 500):
        part = across[first : first + 500]
        for dot in range(dots):
            image = part[:, dot, 0, :, None] * part[:, dot, 1, None, :]
            np.maximum(drawn[first : first + 500], image, out=drawn[first : first + 500])
    drawn[drawn < 1e-6] = 0.0  # far from the stroke: subnormal numbers, with which some processors take ten times as long
    return drawn.reshape(number, 784)


def load() -> tuple[np.ndarray, np.ndarray]:
    """Images for training and testing, kept in a temporary folder."""
    path = Path(tempfile.gettempdir()) / f"curvature-curves-{VERSION}.npy"
    if not path.exists():
        part = Path(tempfile.mkdtemp()) / path.name
        np.save(part, images(TRAIN + TEST))
        part.replace(path)
    both = np.load(path)
    return both[:TRAIN], both[TRAIN:]


def residual(x: np.ndarray, components: int) -> float:
    """Mean squared error that so many principal components leave."""
    values = np.linalg.eigvalsh(np.cov(x.T.astype(np.float64), bias=True))
    return float(np.sum(values[: values.size - components]))


class Problem(LayeredProblem):
    """See the module's docstring."""

    name = "curves"
    summary = "deep autoencoder 784-400-200-100-50-25-6-… of 20,000 images of curves, 842,340 parameters, float32"
    measured = "squared error, training"
    targets = (10.0, 5.0, 2.5, 1.5, 1.2)
    budget = 300.0
    spacing = 0.05
    least = 2.0
    batch = 200
    activation = "sigmoid"
    linear = (5, 11)
    l2 = 1e-5

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(seed, device)
        self.train, self.test = load()
        self.arrays = (self.train, self.train)
        rng = np.random.default_rng(seed)
        self.layers = [sparse(rng, inputs, outputs) for inputs, outputs in pairwise(SIZES)]

    def criterion(self, outputs: Any, y: Any) -> Any:
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs, y, reduction="sum") / y.shape[0]

    def measure_layers(self, layers: Layers) -> dict[str, float]:
        return {"train": self._error(layers, self.train), "test": self._error(layers, self.test)}

    def _error(self, layers: Layers, x: np.ndarray) -> float:
        total = 0.0
        for first in range(0, len(x), 2000):
            part = x[first : first + 2000]
            logits = self.forward(layers, part)
            if isinstance(logits, np.ndarray):
                total += float(np.sum((0.5 + 0.5 * np.tanh(0.5 * logits) - part) ** 2))
            else:
                import torch

                total += float(((logits.sigmoid() - torch.from_numpy(part).to(self.device)) ** 2).sum())
        return total / len(x)


def sparse(rng: np.random.Generator, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    """A layer at the start: 15 incoming weights of each unit are N(0, 1), all else is zero."""
    weight = np.zeros((inputs, outputs), dtype=np.float32)
    for unit in range(outputs):
        chosen = rng.permutation(inputs)[:15]
        weight[chosen, unit] = rng.standard_normal(len(chosen))
    return {"weight": weight, "bias": np.zeros(outputs, dtype=np.float32)}
