"""A small network on scikit-learn's digits: 64-32-32-10 (3466 parameters), tanh, softmax cross-entropy, minibatches of 128.

1437 of the 1797 examples are for training, the rest, drawn once, for testing. Weights are N(0, 1/d_in) at the start. The error is
the mean cross-entropy on the training set.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .layered import LayeredProblem, Layers

SIZES = (64, 32, 32, 10)


class Problem(LayeredProblem):
    """See the module's docstring."""

    name = "digits"
    summary = "network 64-32-32-10 tanh on 1437 digits, 3466 parameters, minibatches of 128, float32"
    measured = "cross-entropy, training"
    targets = (0.1, 1e-2, 1e-3, 1e-4)
    budget = 10.0
    threads = 1
    batch = 128
    activation = "tanh"
    linear = (2,)

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        from sklearn.datasets import load_digits

        super().__init__(seed, device)
        digits = load_digits()
        x, y = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
        order = np.random.default_rng(0).permutation(len(x))
        train, test = order[:1437], order[1437:]
        self.arrays, self.test = (x[train], y[train]), (x[test], y[test])
        rng = np.random.default_rng(seed)
        self.layers = [
            {
                "weight": (rng.standard_normal((inputs, outputs)) / inputs**0.5).astype(np.float32),
                "bias": np.zeros(outputs, dtype=np.float32),
            }
            for inputs, outputs in pairwise(SIZES)
        ]

    def criterion(self, outputs: Any, y: Any) -> Any:
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, y)

    def measure_layers(self, layers: Layers) -> dict[str, float]:
        loss, _ = self._evaluated(layers, *self.arrays)
        test_loss, wrong = self._evaluated(layers, *self.test)
        return {"train": loss, "test": test_loss, "test_wrong": wrong}

    def _evaluated(self, layers: Layers, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean cross-entropy, and the share of examples that are classified wrongly."""
        logits = self.forward(layers, x)
        logits = np.asarray(logits if isinstance(logits, np.ndarray) else logits.cpu(), dtype=np.float64)
        highest = logits.max(axis=1)
        logs = np.log(np.sum(np.exp(logits - highest[:, None]), axis=1)) + highest
        return float(np.mean(logs - logits[np.arange(len(y)), y])), float(np.mean(logits.argmax(axis=1) != y))
