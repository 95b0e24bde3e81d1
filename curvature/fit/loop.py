"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..errors import ConvergenceError, DataError, NotPositiveDefiniteError
from ..optim import StepInfo
from ..problem import Problem
from ..registry import hooks
from .events import StopTraining, TrainingStep
from .minibatches import Minibatches
from .record import Point, Record

Array = Any
Tree = Any
Callback = Callable[[TrainingStep], object]
Metric = Callable[[Array, Array], Any]

# What an optimiser raises when the numbers fail, as opposed to a mistake in the call, which is for the caller to see.
NUMERICAL = (DataError, NotPositiveDefiniteError, ConvergenceError)


class Optimizer(Protocol):
    """What ``fit`` asks of an optimiser: everything of ``curvature.optim`` has it."""

    def init(self, problem: Problem) -> Any:
        """The state at the start."""
        ...

    def step(self, params: Tree, state: Any, data: Any = None) -> tuple[Tree, Any, StepInfo]:
        """(params, state, info) after one update on ``data``."""
        ...


def fit(
    problem: Problem,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    on_step: Callback | None = None,
    test: Any = None,
    metrics: Mapping[str, Metric] | None = None,
) -> Record:
    """Train the model of ``problem`` from its parameters.

    Args:
        problem: model, likelihood and training data.
        optimizer: an optimiser of ``curvature.optim``, or anything with its ``init`` and ``step``.
        epochs: passes over the data.
        batch_size: examples in a minibatch, None for all (see ``Minibatches``).
        seed: seed of the shuffles: the same minibatches on every backend.
        on_step: called with a ``TrainingStep`` after every step, after the hook ``curvature_training_step`` of the plugins.
            Either may raise ``StopTraining``.
        test: data to evaluate beside the training data.
        metrics: name → function (outputs (N, C), targets) -> number, evaluated on ``test``.

    Returns:
        A ``Record``, also where the run ended early: by Ctrl-C (``interrupted``), by ``StopTraining`` (``stopped``), or because
        the objective was no longer finite or a matrix no longer positive definite (``error``).

    Raises:
        DataError: if ``epochs`` or ``batch_size`` cannot be.
    """
    if not (isinstance(epochs, int) and epochs >= 1):
        raise DataError(f"epochs is a positive integer, got {epochs!r}")
    run = _Run(problem, test, dict(metrics or {}))
    minibatches = Minibatches(problem, batch_size, seed=seed)
    state = optimizer.init(problem)
    try:
        run.evaluate()
        for epoch in range(1, epochs + 1):
            for batch in minibatches.epoch():
                state, info = run.step(optimizer, state, batch)
                progress = _progress(epoch, epochs, run.in_epoch, minibatches.steps)
                event = TrainingStep(run.record.steps, epoch, info.loss, info, run.record.seconds, progress)
                hooks().curvature_training_step(event=event)
                if on_step is not None:
                    on_step(event)
            run.end_epoch()
    except KeyboardInterrupt:
        run.record.interrupted = True
    except StopTraining as request:
        run.record.stopped = str(request)
    except _NumbersFailed as failure:
        run.record.error = str(failure)
    run.finish()
    return run.record


def _progress(epoch: int, epochs: int, in_epoch: int, steps: int | None) -> float:
    share = in_epoch / steps if steps else 0.0
    return min(1.0, (epoch - 1 + share) / epochs)


class _NumbersFailed(Exception):
    pass


class _Run:
    """A record in the making."""

    def __init__(self, problem: Problem, test: Any, metrics: dict[str, Metric]) -> None:
        self.problem = problem
        self.test = None if test is None else problem.at(data=test)
        self.metrics = metrics
        self.record = Record(problem.params)
        self.epochs = 0
        self.in_epoch = 0

    def step(self, optimizer: Optimizer, state: Any, batch: Any) -> tuple[Any, StepInfo]:
        start = time.perf_counter()
        try:
            params, state, info = optimizer.step(self.record.params, state, batch)
        except NUMERICAL as error:
            raise _NumbersFailed(str(error)) from error
        self.problem.backend.synchronize()
        self.record.seconds += time.perf_counter() - start
        self.record.params = params
        self.record.steps += 1
        self.in_epoch += 1
        return state, info

    def end_epoch(self) -> None:
        self.epochs += 1
        self.in_epoch = 0
        self.evaluate()
        if not math.isfinite(self.record.final.loss):
            raise _NumbersFailed(f"the training loss is {self.record.final.loss} after step {self.record.steps}")

    def evaluate(self) -> None:
        """Add a point to the curve."""
        record = self.record
        loss = float(self.problem.at(record.params).loss())
        record.curve.append(Point(self.epochs, record.steps, record.seconds, loss, self._test(record.params)))

    def finish(self) -> None:
        """Evaluate the steps since the last point, or the start where even that is missing."""
        curve = self.record.curve
        if not curve or curve[-1].step != self.record.steps:
            self.evaluate()

    def _test(self, params: Tree) -> dict[str, float]:
        if self.test is None:
            return {}
        problem = self.test.at(params)
        found = {"loss": float(problem.loss())}
        totals = dict.fromkeys(self.metrics, 0.0)
        if self.metrics:
            for batch in problem.batches():
                outputs = problem.backend.evaluate(problem.outputs_of(batch), params)
                share = problem.weight(batch) / problem.total_weight
                for name, metric in self.metrics.items():
                    totals[name] += share * float(metric(outputs, problem.targets(batch)))
        return found | totals
