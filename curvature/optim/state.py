"""What an optimiser carries from step to step, and what it says of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..operators import Operator
from ..problem import Problem

Tree = Any


@dataclass(frozen=True)
class State:
    """What an optimiser carries from step to step.

    Attributes:
        problem: model, likelihood and reduction (its parameters and data are those of the start).
        step: steps taken.
        damping: λ.
        statistics: moving average of the approximation's statistics.
        updates: how many times they were gathered.
        operator: the approximation built from them last.
        solution: the solution of the last system, from which an operator with ``solve_from`` starts the next one.
        velocity: the previous update δ.
        previous: the parameters before it.
    """

    problem: Problem
    step: int
    damping: float
    statistics: Tree = None
    updates: int = 0
    operator: Operator | None = None
    solution: Tree = None
    velocity: Tree = None
    previous: Tree = None


@dataclass(frozen=True)
class StepInfo:
    """What happened in one step.

    Attributes:
        loss: objective (with l2) before the step, on the step's data.
        gradient_norm: Euclidean norm of its gradient.
        damping: λ that was used.
        learning_rate, momentum: α and μ.
        predicted: change of the quadratic model, NaN where it was not needed.
        ratio: reduction ratio ρ, NaN where it was not computed.
        accepted: whether the parameters moved.
    """

    loss: float
    gradient_norm: float
    damping: float
    learning_rate: float
    momentum: float
    predicted: float
    ratio: float
    accepted: bool
