"""Random numbers from a key that may be traced, and the Monte Carlo Fisher information that they give."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

import curvature as cv

Array = Any


class KeyRng(cv.Rng):
    """``curvature.Rng`` of a key of JAX: the draws are part of the caller's program, and other ones in each of its runs.

    ``curvature.Rng`` draws on the host. Inside of ``jax.jit`` that happens once, when the program is traced, and every later
    step would use the same draws.

    Args:
        backend: the JAX backend.
        key: from ``jax.random.key``.
    """

    def __init__(self, backend: cv.Backend, key: Array) -> None:
        self._backend = backend
        self._key = key

    def _next(self) -> Array:
        self._key, drawn = jax.random.split(self._key)
        return drawn

    def _as(self, values: Array, dtype: Any) -> Array:
        return values if dtype is None else values.astype(dtype)

    def split(self, n: int) -> list[cv.Rng]:
        return [KeyRng(self._backend, key) for key in jax.random.split(self._next(), n)]

    def uniform(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return jax.random.uniform(self._next(), shape, dtype or float)

    def normal(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return jax.random.normal(self._next(), shape, dtype or float)

    def rademacher(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        return jax.random.rademacher(self._next(), shape, dtype or float)

    def integers(self, high: int, shape: tuple[int, ...]) -> Array:
        return jax.random.randint(self._next(), shape, 0, high)

    def permutation(self, n: int) -> Array:
        return jax.random.permutation(self._next(), n)

    def poisson(self, rate: Array, dtype: Any = None) -> Array:
        return self._as(jax.random.poisson(self._next(), rate), rate.dtype if dtype is None else dtype)


class DrawnFisher(cv.MonteCarloFisher):
    """``curvature.MonteCarloFisher`` with the draws of a key of JAX, which may be traced.

    Args:
        problem: what it is the Fisher information of.
        key: of the draws; batches fold their position in.
        samples: draws of y for each example.
    """

    def __init__(self, problem: cv.Problem, key: Array, *, samples: int = 1) -> None:
        super().__init__(problem, samples=samples)
        self.key = key

    def factor(self, outputs: Array, y: Array, batch: cv.Batch) -> Array:
        rng = KeyRng(self.backend, jax.random.fold_in(self.key, batch.index))
        likelihood, score = self.problem.likelihood, self.problem.of_outputs("score")
        scores = [score(outputs, likelihood.sample(rng, outputs)) for _ in range(self.samples)]
        return jnp.stack(scores, axis=2) * (1.0 / math.sqrt(self.samples))

    def at(self, problem: cv.Problem) -> DrawnFisher:
        return DrawnFisher(problem, self.key, samples=self.samples)
