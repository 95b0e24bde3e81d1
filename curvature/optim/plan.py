"""The rules that a run goes by: what the user gave, and what was chosen for the problem where nothing was given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..approximation import Approximation, as_method
from ..matrices import Fisher, GaussNewtonMatrix
from ..problem import Problem
from .acceleration import GeodesicAcceleration
from .damping import Damping, DampingSearch, DelayedGratification, LevenbergMarquardt, retries_of
from .objective import Loss, Objective
from .refresh import Every, Refresh
from .solver import SPECTRAL_LIMIT
from .step_size import AveragedModel, Fixed, LearningRate, LineSearch, QuadraticModel, SmoothedModel

FEW_OUTPUTS = 32
"""Up to so many columns of the output factor the exact expectation over the model's predictions is worth its price."""

MANY_OUTPUTS = 512
"""From so many outputs on the output factor is taken to have many columns."""

LARGE = 50_000
"""From so many parameters on the decompositions of a Kronecker method take longer than the gradients."""

MANY = 512
"""From so many predictions in a minibatch on, averaged statistics of a part of them do as well."""

PART = 0.125
"""The part."""


@dataclass(frozen=True)
class Options:
    """What the user gave; None where the choice is left to the optimiser."""

    approximation: Approximation | None
    fisher: str | Callable[[Problem], GaussNewtonMatrix] | None
    damping: Damping | None
    learning_rate: LearningRate | None
    acceleration: GeodesicAcceleration | None
    decay: float | None
    momentum: float
    objective: Objective
    refresh: Refresh | None = None
    statistics_share: float | None = None
    model_share: float | None = None
    statistics_every: int | None = None
    averaging: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a run goes by.

    Attributes:
        method: the approximation F̂. fisher: which matrix it approximates. damping, learning_rate, acceleration: the rules.
        decay: of the moving average of the statistics.
        refresh: when the operator is built from them anew.
        statistics_share, model_share: shares of a batch that statistics and the quadratic model are taken from.
        statistics_every: steps between updates of the statistics.
        averaging: of the Polyak average of the parameters, 0 for none.
        minibatch: how many examples the first minibatch had; 0 for steps on all of the problem's own data.
        positions: how many predictions were made for each of them, as far as it mattered.
    """

    method: Approximation
    fisher: str | Callable[[Problem], GaussNewtonMatrix]
    damping: Damping
    learning_rate: LearningRate
    acceleration: GeodesicAcceleration | None
    decay: float
    refresh: Refresh
    statistics_share: float
    model_share: float
    statistics_every: int
    averaging: float
    minibatch: int
    positions: int = 1


def choose(options: Options, problem: Problem, *, minibatch: int, positions: int | None = None) -> Plan:
    """What suits a problem, and steps on minibatches of so many examples (0: on all of the problem's own data).

    ``positions`` is the number of predictions for an example, such as the tokens of a sequence; None: counted where it matters.

    - A small model (up to 1024 parameters) and all of its data: the matrix itself, ``DelayedGratification``, full steps bent
      by ``GeodesicAcceleration``: the rank that is used grows as the damping falls.
    - An objective of its own: what it names as ``approximation``, or the matrix itself where it is small, ``DampingSearch`` and
      ``LineSearch``.
    - Anything else: K-FAC, ``LevenbergMarquardt`` from a calibrated start, ``QuadraticModel``.
    - On minibatches: ``SmoothedModel``; λ does not fall below 0.1 of the mean diagonal entry of F̂. From 50,000 parameters on
      the operator is refreshed every ten steps.
    - Minibatches of 512 predictions and more of such a model: statistics every five steps from an eighth of the examples, the
      quadratic model from a quarter.
    - Of 512 examples and more: the quadratic model from half of them; ``AveragedModel``, λ not below 0.004 of that entry, and a
      Polyak average.

    The Fisher information is taken exactly with up to 32 columns of the output factor, and by Monte Carlo beyond.
    """
    small = problem.space.size <= SPECTRAL_LIMIT
    own_loss = isinstance(options.objective, Loss)
    method = options.approximation
    if method is None:
        named = getattr(options.objective, "approximation", None)
        dense = small and not (minibatch and own_loss)
        method = as_method(named if named is not None else "exact" if dense else "kfac")
    fisher = options.fisher or ("exact" if _few_columns(problem) else "monte-carlo")
    deterministic = not minibatch and fisher != "monte-carlo"
    # Steps that are solved for exactly, on an objective that is a function of the parameters alone.
    whole = deterministic and own_loss and small and method.name == "exact" and options.learning_rate is None
    large = minibatch > 0 and problem.space.size >= LARGE
    many = large and minibatch >= MANY
    if positions is None:
        positions = _positions(problem) if large and not many else 1
    partly = large and minibatch * positions >= MANY
    damping = options.damping
    if damping is None:
        # Steps uphill go by what the model promises, which the empirical Fisher does not know.
        for_whole = DelayedGratification(uphill=1.0) if fisher == "empirical" else DelayedGratification()
        floor = 0.004 if many else 0.1 if minibatch else 0.0
        for_loss: Damping = for_whole if whole else LevenbergMarquardt(initial=None, floor=floor)
        damping = for_loss if own_loss else DampingSearch()
    learning_rate = options.learning_rate
    if learning_rate is None:
        if options.momentum:
            learning_rate = Fixed(1.0, options.momentum)
        elif not own_loss:
            learning_rate = LineSearch()
        else:
            for_minibatch = AveragedModel() if many else SmoothedModel()
            learning_rate = Fixed(1.0) if retries_of(damping) else for_minibatch if minibatch else QuadraticModel()
    acceleration = options.acceleration
    if acceleration is None and whole and isinstance(damping, DelayedGratification):
        acceleration = GeodesicAcceleration()
    # Old statistics are only worth keeping where the new ones are noisy.
    decay = options.decay
    if decay is None:
        decay = 0.0 if deterministic else 0.95
    return Plan(
        method,
        fisher,
        damping,
        learning_rate,
        acceleration,
        decay,
        refresh=options.refresh or Every(10 if large else 1),
        statistics_share=options.statistics_share or (PART if partly else 1.0),
        model_share=options.model_share or (0.5 if many else 2 * PART if partly else 1.0),
        statistics_every=options.statistics_every or (5 if partly else 1),
        averaging=(0.98 if isinstance(learning_rate, AveragedModel) else 0.0) if options.averaging is None else options.averaging,
        minibatch=minibatch,
        positions=positions,
    )


def _positions(problem: Problem) -> int:
    """The least number of positions at which an example meets one of the weight matrices; 1 for a model without them."""
    # Counted, not proven: methods that need no layers take models whose layers cannot be told apart.
    two = next(problem.batches()).part(slice(0, 2))
    met: dict[str, int] = {}
    for use in problem.recorded(two).uses:
        if use.kind == "linear" and use.inputs is not None:
            met[use.parameter] = met.get(use.parameter, 0) + math.prod(int(n) for n in use.inputs.shape[1:-1])
    return min(met.values(), default=1)


def _few_columns(problem: Problem) -> bool:
    """Whether the output factor is narrow; that of very many outputs is not formed to find out."""
    one = next(problem.batches()).part(slice(0, 1))
    outputs = int(problem.evaluate(one).outputs.shape[1])
    return outputs <= FEW_OUTPUTS or (outputs <= MANY_OUTPUTS and Fisher(problem).columns(one) <= FEW_OUTPUTS)
