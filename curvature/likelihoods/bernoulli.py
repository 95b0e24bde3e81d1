"""The Bernoulli distribution with logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import namespace
from ..errors import DataError
from ..trees import count
from .base import Likelihood, as_outputs, first_offender, holds
from .diagonal import diagonal_factor

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Bernoulli(Likelihood):
    """p(y = 1 | f) = σ(f): outputs are logits (N, C) of C independent labels, y in [0, 1] of shape (N,) or (N, C).

    F = p (1 - p). The loss is the binary cross-entropy; targets between 0 and 1 are soft labels.
    """

    canonical = True

    def check(self, outputs: Array, y: Array) -> Array:
        y = as_outputs(outputs, y, "Bernoulli")
        xp = namespace(y)
        # Two reductions read labels that may be as many as the activations; only where they find something is it looked for.
        if count(y) and holds(~((xp.min(y) >= 0) & (xp.max(y) <= 1))):
            example = first_offender(~((y >= 0) & (y <= 1)))
            raise DataError(f"Bernoulli: a label of example {example} lies outside [0, 1]: {y[example, ...]}")
        return y

    def log_prob(self, outputs: Array, y: Array) -> Array:
        # y f - log(1 + e^f), and logaddexp does not overflow.
        xp = namespace(outputs)
        return xp.sum(y * outputs - xp.logaddexp(outputs, xp.zeros_like(outputs)), axis=1)

    def probabilities(self, outputs: Array) -> Array:
        """σ(f), (N, C); (1 + tanh(f/2))/2 does not overflow."""
        return 0.5 * (1.0 + namespace(outputs).tanh(0.5 * outputs))

    def sample(self, rng: Rng, outputs: Array) -> Array:
        xp = namespace(outputs)
        return xp.astype(rng.uniform(tuple(outputs.shape), dtype=outputs.dtype) < self.probabilities(outputs), outputs.dtype)

    def score(self, outputs: Array, y: Array) -> Array:
        return y - self.probabilities(outputs)

    def _variance(self, outputs: Array) -> Array:
        # σ(f) σ(-f) rather than p (1 - p), which cancels for large f.
        return self.probabilities(outputs) * self.probabilities(-outputs)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return self.fisher_product(outputs, v)

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        return self._variance(outputs) * v

    def fisher_factor(self, outputs: Array) -> Array:
        return diagonal_factor(namespace(outputs).sqrt(self._variance(outputs)))
