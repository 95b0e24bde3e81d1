"""Fisher information: exact, by Monte Carlo, empirical; and the generalised Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..backend import Rng
from ..errors import DataError
from ..problem import Batch, Problem
from .gauss_newton import GaussNewtonMatrix

Array = Any


class Fisher(GaussNewtonMatrix):
    """F = Σ_n w_n J_nᵀ F_n J_n with F_n = E_y[∂ log p ∂ log pᵀ] over the model's own p(y | x_n, θ), in closed form.

    The expectation over inputs is the average over the data ("type-2" Fisher).
    Sources: Fisher (1922); Amari (1998); Martens (2020).
    """

    def factor(self, outputs: Array, y: Array, batch: Batch) -> Array:
        return self.problem.of_outputs("fisher_factor")(outputs)

    def output_map(self, outputs: Array, y: Array, batch: Batch) -> Callable[[Array], Array]:
        return partial(self.problem.of_outputs("fisher_product"), outputs)

    def at(self, problem: Problem) -> Fisher:
        return Fisher(problem, tolerance=self.tolerance)


class GGN(GaussNewtonMatrix):
    """G = Σ_n w_n J_nᵀ H_n J_n with H_n = ∂²ℓ/∂f²: the Hessian without the curvature of the model.

    It is the Fisher where the outputs are natural parameters of an exponential family (Categorical, Bernoulli,
    Gaussian of known variance, Poisson with log rate, von Mises). Source: Schraudolph (2002).
    """

    def factor(self, outputs: Array, y: Array, batch: Batch) -> Array:
        return self.problem.of_outputs("hessian_factor")(outputs, y)

    def output_map(self, outputs: Array, y: Array, batch: Batch) -> Callable[[Array], Array]:
        return partial(self.problem.of_outputs("hessian_product"), outputs, y)

    def at(self, problem: Problem) -> GGN:
        return GGN(problem, tolerance=self.tolerance)


class EmpiricalFisher(GaussNewtonMatrix):
    """Σ_n w_n g_n g_nᵀ with g_n = ∂ log p(y_n | x_n, θ) at the data: the second moment of the gradients.

    Not the Fisher information unless the model is right and has converged (Kunstner, Hennig and Balles 2019).
    """

    def factor(self, outputs: Array, y: Array, batch: Batch) -> Array:
        return self.problem.of_outputs("score")(outputs, y)[:, :, None]

    def output_map(self, outputs: Array, y: Array, batch: Batch) -> Callable[[Array], Array]:
        score = self.problem.of_outputs("score")(outputs, y)
        return lambda v: score * self.xp.sum(score * v, axis=1, keepdims=True)

    def at(self, problem: Problem) -> EmpiricalFisher:
        return EmpiricalFisher(problem, tolerance=self.tolerance)


class MonteCarloFisher(GaussNewtonMatrix):
    """The Fisher with the expectation over y replaced by an average over draws from the model's own distribution.

    Unbiased. The draws are fixed by the seed: the operator is one and the same matrix each time it is applied, and the
    same on every backend.

    Args:
        samples: draws of y for each example.
        seed: seed of the draws; batches use different ones.

    Raises:
        DataError: if ``samples`` is not a positive integer.
    """

    def __init__(
        self, problem: Problem, *, samples: int = 1, seed: int | tuple[int, ...] = 0, tolerance: float | None = None
    ) -> None:
        if not (isinstance(samples, int) and samples >= 1):
            raise DataError(f"samples is a positive integer, got {samples!r}")
        super().__init__(problem, tolerance=tolerance)
        self.samples = samples
        self.seed = seed
        self._marks: dict[int, tuple[int, float]] = {}
        self._seeds = seed if isinstance(seed, tuple) else (int(seed),)

    def columns(self, batch: Batch) -> int:
        return self.samples

    def factor(self, outputs: Array, y: Array, batch: Batch) -> Array:
        likelihood, xp = self.problem.likelihood, self.xp
        self._require_same_data(batch)
        rng = Rng(self.backend, np.random.SeedSequence([*self._seeds, batch.index]))
        score = self.problem.of_outputs("score")
        scores = [score(outputs, likelihood.sample(rng, outputs)) for _ in range(self.samples)]
        if self.samples == 1:
            return scores[0][:, :, None]
        return xp.stack(scores, axis=2) * self.samples**-0.5

    def _require_same_data(self, batch: Batch) -> None:
        """The draws belong to examples by their place: data that is shuffled anew would get another matrix each time."""
        if self.problem.data.single is not None or self.backend.is_abstract(batch.y):
            return
        xp = self.xp
        flat = xp.astype(xp.reshape(batch.y, (-1,)), self.dtype)
        places = xp.arange(1, flat.shape[0] + 1, dtype=self.dtype, device=self.backend.device)
        mark = (batch.size, float(xp.sum(flat * places)))
        if self._marks.setdefault(batch.index, mark) != mark:
            raise DataError(
                f"batch {batch.index} holds other examples than in an earlier pass: the data is shuffled anew each time, so a "
                f"Monte Carlo Fisher would be another matrix each time; switch shuffling off, or take curvature.Fisher"
            )

    def output_map(self, outputs: Array, y: Array, batch: Batch) -> Callable[[Array], Array]:
        factor, xp = self.factor(outputs, y, batch), self.xp

        def product(v: Array) -> Array:
            inner = xp.sum(factor * v[:, :, None], axis=1, keepdims=True)
            return xp.sum(factor * inner, axis=2)

        return product

    def at(self, problem: Problem) -> MonteCarloFisher:
        return MonteCarloFisher(problem, samples=self.samples, seed=self.seed, tolerance=self.tolerance)
