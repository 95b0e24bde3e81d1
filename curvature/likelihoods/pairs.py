"""What likelihoods of two outputs for each target have in common: their layout and their 2 × 2 matrices."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..backend import namespace
from ..errors import ModelError
from .base import Likelihood, as_outputs, device_of

Array = Any
Symmetric = tuple[Array, Array, Array]
"""A field of symmetric 2 × 2 matrices: the entries (1, 1), (1, 2) and (2, 2)."""


class PairLikelihood(Likelihood):
    """Independent targets, each with two outputs, which lie next to each other on the last axis of what the model returns.

    A model of one target returns (N, 2); of D targets (N, D, 2), which is flattened to (N, 2 D), so that a model may as well
    return (N, 2 D) with the two outputs of a target adjacent. Targets y have one number for each pair: (N,), (N, D), or
    (N, D₁ · D₂) in row-major order for outputs (N, D₁, D₂, 2). Matrices in the outputs have 2 × 2 blocks on the diagonal.
    """

    @abstractmethod
    def _fisher(self, first: Array, second: Array) -> Symmetric:
        """E[score scoreᵀ] of each pair, (N, D) for each entry."""

    @abstractmethod
    def _fisher_root(self, first: Array, second: Array) -> tuple[Array, Array, Array, Array]:
        """The rows of S with S Sᵀ the Fisher information of each pair."""

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        return times(self._fisher(*split(outputs)), v)

    def fisher_factor(self, outputs: Array) -> Array:
        xp = namespace(outputs)
        pairs = joined(*self._fisher_root(*split(outputs)))  # (N, 4 D)
        n, d = int(outputs.shape[0]), int(outputs.shape[1]) // 2
        blocks = xp.reshape(pairs, (n, d, 2, 1, 2))
        own = xp.eye(d, dtype=outputs.dtype, device=device_of(outputs))
        return xp.reshape(blocks * xp.reshape(own, (1, d, 1, d, 1)), (n, 2 * d, 2 * d))


def targets(outputs: Array, y: Array, name: str, what: str) -> Array:
    """``y`` as floating (N, D) for outputs (N, 2 D).

    Raises:
        ModelError: if the outputs are no pairs; ``what`` says what the pair is.
        DataError: if ``y`` is of another size.
    """
    c = int(outputs.shape[1])
    if c % 2:
        raise ModelError(
            f"{name} needs two outputs for each target on the last axis ({what}), the model returns {c} for an example; return "
            f"(N, 2), or (N, D, 2) for D targets"
        )
    return as_outputs(outputs[:, : c // 2], y, name)


def split(outputs: Array) -> tuple[Array, Array]:
    """(N, 2 D) as the first and the second output of each pair, (N, D) each."""
    pairs = namespace(outputs).reshape(outputs, (outputs.shape[0], -1, 2))
    return pairs[:, :, 0], pairs[:, :, 1]


def joined(*parts: Array) -> Array:
    """Parts (N, D) side by side, (N, D · parts): what belongs to a pair is adjacent."""
    xp = namespace(parts[0])
    return xp.reshape(xp.stack(parts, axis=-1), (parts[0].shape[0], -1))


def times(matrix: Symmetric, v: Array) -> Array:
    """The product of each pair's matrix with its part of ``v`` (N, 2 D)."""
    (a, b, c), (first, second) = matrix, split(v)
    return joined(a * first + b * second, b * first + c * second)
