"""Defects of the curvature matrices and of what problems are made of, planted into the library itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import curvature as cv
from curvature import GGN, EmpiricalFisher, Fisher, Hessian, Jacobian, MonteCarloFisher
from curvature.problem import LayerValues

from .mutant import Mutant, replaced


class LabelsRepeated(EmpiricalFisher):
    """The data's labels for draws of the model's own."""

    def factor(self, outputs: Any, y: Any, batch: Any) -> Any:
        found = super().factor(outputs, y, batch)
        return self.xp.repeat(found, 300, axis=2) * 300**-0.5


class OtherProducts(MonteCarloFisher):
    """Products that are not those of the factor."""

    def _matmat(self, v: Any) -> Any:
        return 2.0 * super()._matmat(v)


class WrongForms(Fisher):
    """A quadratic form of half of the matrix, as of a loss with ½."""

    def quadratic_forms(self, vectors: Any) -> Any:
        return 0.5 * super().quadratic_forms(vectors)


class NegativeFisher(Fisher):
    """The expectation of the second derivative, not of minus it."""

    def _matmat(self, v: Any) -> Any:
        return -super()._matmat(v)


class ConvexHessian(Hessian):
    """A Hessian with the residual term of a linear model."""

    def _matmat(self, v: Any) -> Any:
        return GGN(self.problem)._matmat(v)


class Transposed(Jacobian):
    """The sign of the residual y - f in the Jacobian of f."""

    def _matmat(self, v: Any) -> Any:
        return -super()._matmat(v)


def _of_first_batch(kind: type) -> Callable[..., Any]:
    return lambda problem, **options: kind(problem.at(data=next(iter(problem.batches()))), **options)


def _without_weights(kind: type) -> Callable[..., Any]:
    return lambda problem, **options: kind(problem.at(data=[(b.x, b.y) for b in problem.batches()]), **options)


def _of_a_sum(kind: type) -> Callable[..., Any]:
    return lambda problem, **options: kind(
        cv.Problem(problem.model, problem.likelihood, next(problem.batches()), reduction="sum"), **options
    )


def _always_a_mean(kind: type) -> Callable[..., Any]:
    return lambda problem, **options: kind(cv.Problem(problem.model, problem.likelihood, list(problem.batches())), **options)


def _gradients_of_the_first(self: Any) -> Any:
    found = _gradients(self)
    return self._xp.broadcast_to(found[:, :, :1], tuple(found.shape))


_gradients = LayerValues.gradients


def _in(**members: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: replaced(cv, **members)


def _mutant(
    name: str,
    within: Callable[[], AbstractContextManager[Any]],
    check: str,
    *words: str,
    scenario: str = "tanh-network/categorical",
) -> Mutant:
    return Mutant(name, "matrix", lambda backend: backend, check, scenario, words, {}, within)


MUTANTS = (
    _mutant(
        "the empirical Fisher is an alias",
        _in(EmpiricalFisher=Fisher),
        "matrices/the-empirical-fisher-is-another-matrix",
        "alias",
    ),
    _mutant(
        "the empirical Fisher's name on the Fisher",
        _in(EmpiricalFisher=Fisher),
        "matrices/empirical-fisher",
        "g_n g_nᵀ",
    ),
    _mutant("the Hessian is the GGN", _in(Hessian=GGN), "matrices/hessian", "Hessian", "H = G + "),
    _mutant(
        "the Hessian of a piecewise linear network is its GGN",
        _in(Hessian=ConvexHessian),
        "matrices/piecewise-linear-layers-have-the-blocks-of-the-ggn",
        "not linear in two layers together",
        scenario="one-datum/relu",
    ),
    _mutant("the Fisher is empirical", _in(Fisher=EmpiricalFisher), "matrices/fisher", "data's y"),
    _mutant(
        "the Fisher is the GGN",
        _in(Fisher=GGN),
        "matrices/the-ggn-is-the-fisher-of-natural-parameters",
        "depends on y",
        scenario="gamma-regression/log-shape-and-rate",
    ),
    _mutant(
        "the sign of the Fisher", _in(Fisher=NegativeFisher), "matrices/symmetric-and-positive", "smallest eigenvalue", "sign"
    ),
    _mutant("the GGN of a sum", _in(GGN=_of_a_sum(GGN)), "matrices/ggn", "it is N = "),
    _mutant("a mean always", _in(Fisher=_always_a_mean(Fisher)), "matrices/a-sum-is-n-times-a-mean", "loss() returns"),
    _mutant(
        "one batch of several",
        _in(Fisher=_of_first_batch(Fisher)),
        "matrices/several-batches-are-one",
        "only the first batch",
    ),
    _mutant(
        "weights ignored by the Fisher",
        _in(Fisher=_without_weights(Fisher)),
        "matrices/an-example-of-weight-zero-is-absent",
        "weights ignored",
    ),
    _mutant(
        "half of a quadratic form", _in(Fisher=WrongForms), "matrices/products-do-not-depend-on-the-route", "it is 0.5 times"
    ),
    _mutant(
        "one seed for all matrices",
        _in(MonteCarloFisher=lambda problem, samples=1, seed=0: MonteCarloFisher(problem, samples=samples)),
        "monte-carlo/one-seed-is-one-matrix",
        "seed is ignored",
    ),
    _mutant(
        "the data's labels for draws",
        _in(MonteCarloFisher=lambda problem, samples=1, seed=0: LabelsRepeated(problem)),
        "monte-carlo/converges-to-the-fisher",
        "standard errors",
    ),
    _mutant(
        "products that are not those of the factor",
        _in(MonteCarloFisher=OtherProducts),
        "monte-carlo/products-are-those-of-the-factor",
        "it is 2 times",
    ),
    _mutant("the sign of the Jacobian", _in(Jacobian=Transposed), "problem/jacobian", "sign is wrong"),
    _mutant(
        "a loss that is kept from other parameters",
        lambda: replaced(cv.Problem, evaluate=lambda self, batch: _half_loss(self, batch)),
        "problem/one-evaluation-gives-both",
        "it is 0.5 times",
    ),
    _mutant(
        "one seed's gradients for all",
        lambda: replaced(LayerValues, gradients=_gradients_of_the_first),
        "problem/layers-give-the-gradients-of-each-example",
        "gradients of each example",
    ),
)


def _half_loss(problem: Any, batch: Any) -> Any:
    found = _evaluate(problem, batch)
    loss = found.loss()
    found.loss = lambda: 0.5 * loss  # type: ignore[method-assign]
    return found


_evaluate = cv.Problem.evaluate
