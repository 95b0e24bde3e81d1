"""What an optimiser carries from step to step, and what it says of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..operators import Operator
from ..problem import Problem
from .plan import Plan

Tree = Any


@dataclass(frozen=True)
class State:
    """What an optimiser carries from step to step.

    Attributes:
        problem: model, likelihood and reduction (its parameters and data are those of the start).
        plan: the rules, with what was left to the optimiser chosen; None before the first step.
        step: steps taken.
        damping: λ, None before it was calibrated.
        gamma: factored damping γ, where it is searched.
        statistics: moving average of the approximation's statistics.
        updates: how many times they were gathered.
        operator: the approximation built from them last. built, built_damping: the statistics and the damping in its structure
            that it was built from. age: steps since.
        solution: the solution of the last system, a flat vector, from which an operator with ``solve_from`` starts the next one.
        velocity: the previous update δ.
        direction: the previous φ = -Δ, where the momentum needs it.
        rate: the learning rate of the last step that was taken. memory: numbers that its rule left for the next.
        best, best_params: the least objective so far and where it was, where the damping's rule takes steps uphill.
        previous: the parameters before it.
        average: Polyak average of the parameters.
        failures: steps in a row that left the numbers.
    """

    problem: Problem
    step: int = 0
    plan: Plan | None = None
    damping: float | None = None
    gamma: float | None = None
    statistics: Tree = None
    updates: int = 0
    operator: Operator | None = None
    built: Tree = None
    built_damping: float = 0.0
    age: int = 0
    solution: Any = None
    velocity: Tree = None
    direction: Tree = None
    rate: float | None = None
    memory: tuple[float, ...] = ()
    best: float | None = None
    best_params: Tree = None
    previous: Tree = None
    average: Tree = None
    failures: int = 0


@dataclass(frozen=True)
class StepInfo:
    """What happened in one step.

    Attributes:
        loss: objective (with l2) before the step, on the step's data.
        gradient_norm: Euclidean norm of its gradient.
        damping: λ that was used.
        learning_rate, momentum: α and μ.
        predicted: change of the quadratic model, NaN where it was not needed.
        ratio: reduction ratio ρ, NaN where it was not computed; 1 for a step uphill that the damping's rule takes.
        accepted: whether the parameters moved.
        attempts: how many steps were tried.
    """

    loss: float
    gradient_norm: float
    damping: float
    learning_rate: float
    momentum: float
    predicted: float
    ratio: float
    accepted: bool
    attempts: int = 1
