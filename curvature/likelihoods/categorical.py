"""The categorical distribution with logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import namespace
from ..errors import DataError, ModelError
from .base import Likelihood, device_of, first_offender, holds

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Categorical(Likelihood):
    """p(y = c | f) = softmax(f)_c: outputs are logits (N, C), y class indices (N,).

    F = diag(p) - p pᵀ, of rank C - 1. The loss is the cross-entropy.
    """

    canonical = True
    flattens = False

    def check(self, outputs: Array, y: Array) -> Array:
        xp = namespace(y)
        if outputs.ndim != 2:
            raise ModelError(
                f"Categorical needs logits of shape (N, C), the model returns {tuple(outputs.shape)}; reshape positions "
                f"into examples"
            )
        n, c = int(outputs.shape[0]), int(outputs.shape[1])
        if tuple(y.shape) != (n,):
            raise DataError(f"Categorical: labels of shape {tuple(y.shape)} do not fit {n} examples; pass class indices ({n},)")
        if not xp.isdtype(y.dtype, "integral"):
            raise DataError(f"Categorical: labels are class indices, integers from 0 to {c - 1}; got {y.dtype}")
        bad = (y < 0) | (y >= c)
        if holds(bad):
            example = first_offender(bad)
            raise DataError(f"Categorical: the label of example {example} is {int(y[example])}, outside 0 … {c - 1}")
        return y

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        shifted = outputs - xp.max(outputs, axis=1, keepdims=True)
        log_normaliser = xp.log(xp.sum(xp.exp(shifted), axis=1))
        return xp.sum(shifted * self._one_hot(xp, outputs, y), axis=1) - log_normaliser

    def sample(self, rng: Rng, outputs: Array) -> Array:
        xp = namespace(outputs)
        cumulative = xp.cumulative_sum(self.probabilities(outputs), axis=1)
        uniform = rng.uniform((outputs.shape[0], 1), dtype=outputs.dtype)
        # The last class takes what rounding leaves above the last cumulative sum.
        return xp.sum(xp.astype(cumulative[:, :-1] <= uniform, xp.int32), axis=1)

    def probabilities(self, outputs: Array) -> Array:
        """softmax(f), (N, C)."""
        xp = namespace(outputs)
        weights = xp.exp(outputs - xp.max(outputs, axis=1, keepdims=True))
        return weights / xp.sum(weights, axis=1, keepdims=True)

    def score(self, outputs: Array, y: Array) -> Array:
        return self._one_hot(namespace(outputs), outputs, y) - self.probabilities(outputs)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return self.fisher_product(outputs, v)

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        xp, p = namespace(outputs), self.probabilities(outputs)
        weighted = p * v
        return weighted - p * xp.sum(weighted, axis=1, keepdims=True)

    def fisher_factor(self, outputs: Array) -> Array:
        """S (N, C, C - 1), with as many columns as the rank.

        diag(√p) - p √pᵀ is a factor with C columns and null vector √p; a Householder reflection that turns √p into the
        last axis leaves C - 1 of them: S_j = s_j - s_C √p_j / (1 + √p_C).
        """
        xp, p = namespace(outputs), self.probabilities(outputs)
        root = xp.sqrt(p)
        c = p.shape[1]
        if c == 1:  # one class is certain: F = 0
            return xp.zeros_like(p)[:, :, None]
        identity = xp.eye(c, dtype=p.dtype, device=device_of(p))
        square = root[:, None, :] * (identity[None, :, :] - p[:, :, None])
        ratio = root[:, : c - 1] / (1.0 + root[:, c - 1 :])
        return square[:, :, : c - 1] - square[:, :, c - 1 :] * ratio[:, None, :]

    def _one_hot(self, xp: Any, outputs: Array, y: Array) -> Array:
        classes = xp.arange(outputs.shape[1], dtype=y.dtype, device=device_of(y))
        return xp.astype(y[:, None] == classes[None, :], outputs.dtype)
