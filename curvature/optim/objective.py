"""What a natural-gradient step makes smaller: the loss of a problem, or something else with its Fisher information as metric."""

from __future__ import annotations

from typing import Any, Protocol

from ..problem import Problem

Array = Any
Tree = Any


class Objective(Protocol):
    """A number for the parameters of a problem.

    Two further members are optional. ``sample(params)`` gives the data of a step, for problems whose data depend on the
    parameters (configurations and weights |ψ_θ|² of a wave function). ``approximation`` is the approximation that suits
    the metric, taken by ``NaturalGradient()`` where none is named.
    """

    def value(self, problem: Problem) -> Array:
        """h at ``problem.params``, a number."""
        ...

    def value_and_gradient(self, problem: Problem) -> tuple[Array, Tree]:
        """(h, ∇h), the gradient a params tree."""
        ...


class Loss:
    """The loss of the problem itself."""

    def value(self, problem: Problem) -> Array:
        return problem.loss()

    def value_and_gradient(self, problem: Problem) -> tuple[Array, Tree]:
        return problem.loss_and_gradient()
