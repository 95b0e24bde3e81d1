"""Softmax regression on scikit-learn's digits: convex, with a unique optimum.

1797 examples of 64 features divided by 16 and a column of ones, W ∈ R^{65 × 10},

    L(W) = mean cross-entropy + ½ · 1e-3 · ‖W‖²,   W = 0 at the start,   min L = 0.26392582329507.

The error is L(W) - min L. It does not depend on the seed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .base import VectorProblem

OPTIMUM = 0.26392582329507


class Problem(VectorProblem):
    """See the module's docstring.

    Attributes:
        x, y: features (1797, 65) and labels.
        l2: weight of ½ ‖W‖².
    """

    name = "softmax"
    summary = "softmax regression on 1797 digits, 650 parameters, l2 1e-3, float64"
    measured = "loss above the optimum"
    targets = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
    budget = 10.0
    l2 = 1e-3

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        from sklearn.datasets import load_digits

        super().__init__(seed, device)
        digits = load_digits()
        self.x = jnp.asarray(np.column_stack([digits.data / 16, np.ones(len(digits.data))]))
        self.y = jnp.asarray(digits.target)
        self.start = np.zeros(650)
        self._objective = jax.jit(self.objective)

    def unravel(self, theta: Any) -> Any:
        return {"weight": theta.reshape(65, 10)}

    def objective(self, theta: Any) -> Any:
        logs = jax.nn.log_softmax(self.x @ self.unravel(theta)["weight"])
        return -jnp.mean(jnp.take_along_axis(logs, self.y[:, None], axis=1)) + 0.5 * self.l2 * jnp.sum(theta**2)

    def measure(self, params: Any) -> dict[str, float]:
        loss = float(self._objective(params))
        return {"error": loss - OPTIMUM, "loss": loss}
