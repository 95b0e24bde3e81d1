"""Defects of a model that somebody brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import curvature as cv
from curvature import Fisher, Hessian, Jacobian

from .mutant import IMMUTABLE, Mutant, replaced

Apply = Callable[[Any, Any], Any]


def _sound(params: Any, x: Any) -> Any:
    return cv.namespace(x).tanh(x @ params["first"]) @ params["second"]


def _problem(apply: Apply) -> Callable[[cv.Backend], cv.Problem]:
    def make(backend: cv.Backend) -> cv.Problem:
        rng = np.random.default_rng(1)
        params = {"first": rng.standard_normal((3, 4)), "second": rng.standard_normal((4, 2))}
        on = {name: backend.asarray(leaf) for name, leaf in params.items()}
        data = (backend.asarray(rng.standard_normal((6, 3))), backend.asarray(rng.integers(0, 2, 6)))
        return cv.Problem((apply, on), cv.Categorical(), data)

    return make


def _mixes_examples(params: Any, x: Any) -> Any:
    xp = cv.namespace(x)
    return _sound(params, x - xp.mean(x, axis=0, keepdims=True))


def _random(params: Any, x: Any) -> Any:
    return _sound(params, x) * (1 + 1e-3 * float(np.random.default_rng().standard_normal()))


class _Narrow(cv.Problem):
    """Outputs in single precision, though the parameters are not."""

    def outputs(self, params: Any, batch: Any) -> Any:
        found = super().outputs(params, batch)
        return self.xp.astype(found, self.xp.float32)


def _narrow(backend: cv.Backend) -> cv.Problem:
    made = _problem(_sound)(backend)
    made.__class__ = _Narrow
    return made


_gradient, _loss, _pair = cv.Problem.gradient, cv.Problem.loss, cv.Problem.loss_and_gradient


class _Twice(Fisher):
    def _matmat(self, v: Any) -> Any:
        return 2.0 * super()._matmat(v)


class _FirstBatch(Fisher):
    def __init__(self, problem: cv.Problem) -> None:
        super().__init__(problem.at(data=next(iter(problem.batches()))))


class _NoResidual(Hessian):
    def _matmat(self, v: Any) -> Any:
        return cv.GGN(self.problem)._matmat(v)


class _Backwards(Jacobian):
    def _matmat(self, v: Any) -> Any:
        return -super()._matmat(v)


def _writes(self: Any) -> Any:
    found = _pair(self)
    for leaf in self.space.flatten(self.params):
        leaf *= 1.001
    return found


def _mixed_layers(self: Any, batch: Any, factor: Any) -> Any:
    return _layers(self, batch, self.xp.flip(factor, axis=0))


_layers = cv.Problem.layers


def _mutant(name: str, apply: Apply, check: str, *words: str, within: Any = None, impossible: Any = None) -> Mutant:
    options = {} if within is None else {"within": within}
    return Mutant(name, "problem", _problem(apply), f"model/{check}", "*", words, impossible or {}, **options)


MUTANTS = (
    _mutant("examples that are mixed", _mixes_examples, "examples-are-independent", "batch normalisation"),
    _mutant("outputs that are random", _random, "outputs-depend-on-nothing-but-the-arguments", "dropout"),
    Mutant(
        "outputs in single precision",
        "problem",
        _narrow,
        "model/outputs-have-the-dtype-and-device-of-the-parameters",
        "*",
        ("dtype", "float32"),
        {},
    ),
    _mutant(
        "a gradient that is cut off",
        _sound,
        "the-gradient-is-that-of-the-loss",
        "⟨∇L, v⟩",
        within=lambda: replaced(
            cv.Problem, gradient=lambda self: {k: 0 * g if k == "first" else g for k, g in _gradient(self).items()}
        ),
    ),
    _mutant(
        "a Jacobian of the residuals",
        _sound,
        "the-jacobian-is-that-of-the-outputs",
        "J v",
        within=lambda: replaced(cv, Jacobian=_Backwards),
    ),
    _mutant(
        "a Hessian without the model's own curvature",
        _sound,
        "the-hessian-is-that-of-the-gradient",
        "∇²L v",
        within=lambda: replaced(cv, Hessian=_NoResidual),
    ),
    _mutant(
        "a Fisher that counts twice",
        _sound,
        "the-fisher-is-made-of-the-jacobian",
        "it is 2 times",
        within=lambda: replaced(cv, Fisher=_Twice),
    ),
    _mutant(
        "the first of several batches",
        _sound,
        "several-batches-are-one",
        "Fisher @ v of two batches",
        within=lambda: replaced(cv, Fisher=_FirstBatch),
    ),
    _mutant(
        "gradients of other examples",
        _sound,
        "layers-give-the-gradients-of-each-example",
        "mixes examples",
        within=lambda: replaced(cv.Problem, layers=_mixed_layers),
    ),
    _mutant(
        "a loss that writes into the parameters",
        _sound,
        "parameters-and-data-stay-as-they-are",
        "the parameters afterwards",
        within=lambda: replaced(cv.Problem, loss_and_gradient=_writes),
        impossible=IMMUTABLE,
    ),
)
