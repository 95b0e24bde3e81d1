"""First-order optimisers to compare with, in the same form as ``NaturalGradient``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..backend import namespace
from ..errors import DataError
from ..problem import Problem
from ..trees import tree_map
from .named import by_name, from_names
from .state import StepInfo
from .vectors import combine, dot, scale

Tree = Any


@dataclass(frozen=True)
class FirstOrderState:
    """Step count, problem and moments of the gradient."""

    problem: Problem
    step: int = 0
    moments: tuple[Tree, ...] = field(default=())


class FirstOrder:
    """What ``GradientDescent`` and ``Adam`` share."""

    learning_rate: float
    l2: float
    moment_names: ClassVar[tuple[str, ...]]

    def init(self, problem: Problem) -> FirstOrderState:
        """The state at the start."""
        return FirstOrderState(problem)

    def state_dict(self, state: FirstOrderState) -> dict[str, Any]:
        """All of a state but the problem: ``{"optimizer": class, "step": k, "moments": {moment: {parameter: array}}}``.

        There are no moments before the first step.
        """
        named = zip(self.moment_names, state.moments, strict=False)
        moments = {name: by_name(state.problem, moment) for name, moment in named}
        return {"optimizer": type(self).__name__, "step": state.step, "moments": moments}

    def load_state_dict(self, problem: Problem, packed: dict[str, Any]) -> FirstOrderState:
        """The state that ``state_dict`` packed, for the model of ``problem``.

        Raises:
            DataError: if it is that of another optimiser or model, or no state at all; says what does not fit.
        """
        own = type(self).__name__
        given: Any = packed
        if not isinstance(given, dict) or not {"optimizer", "step", "moments"} <= set(given):
            raise DataError(
                f"this is no state of {own}: it has no 'optimizer', 'step' and 'moments'; pass what state_dict returned"
            )
        if given["optimizer"] != own:
            raise DataError(f"this is a state of {given['optimizer']}, not of {own}; load it with an optimiser of that class")
        step, moments = given["step"], given["moments"]
        if not (type(step) is int and step >= 0) or not isinstance(moments, dict):
            raise DataError(f"this is no state of {own}: its step is {step!r}, its moments are a {type(moments).__name__}")
        if set(moments) != (set(self.moment_names) if step else set()):
            raise DataError(f"a state of {own} after {step} steps does not have the moments {sorted(moments)}")
        found = (from_names(problem, moments[name], what=f"the {name} of {own}") for name in self.moment_names if step)
        return FirstOrderState(problem, step, tuple(found))

    def _update(self, gradient: Tree, state: FirstOrderState) -> tuple[Tree, tuple[Tree, ...]]:
        raise NotImplementedError

    def step(self, params: Tree, state: FirstOrderState, data: Any = None) -> tuple[Tree, FirstOrderState, StepInfo]:
        """One update on ``data`` (by default the problem's own); returns (params, state, info)."""
        problem = state.problem.at(params, data)
        loss, gradient = problem.loss_and_gradient()
        objective = float(loss) + 0.5 * self.l2 * dot(params, params)
        if self.l2:
            gradient = combine(1.0, gradient, self.l2, params)
        norm = dot(gradient, gradient) ** 0.5
        if not (math.isfinite(objective) and math.isfinite(norm)):
            raise DataError(f"step {state.step}: the objective is {objective}; lower the learning rate")
        update, moments = self._update(gradient, state)
        moved = combine(1.0, params, 1.0, update)
        info = StepInfo(objective, norm, 0.0, self.learning_rate, 0.0, math.nan, math.nan, True)
        return moved, replace(state, step=state.step + 1, moments=moments), info


class GradientDescent(FirstOrder):
    """v ← μ v + g, θ ← θ - α v; with ``nesterov`` θ ← θ - α (g + μ v) (Polyak 1964; Sutskever et al. 2013).

    Args:
        learning_rate: α. momentum: μ. l2: weight of (1/2) ‖θ‖² in the objective.
    """

    moment_names = ("velocity",)

    def __init__(self, learning_rate: float = 0.1, *, momentum: float = 0.9, nesterov: bool = False, l2: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.l2 = l2

    def _update(self, gradient: Tree, state: FirstOrderState) -> tuple[Tree, tuple[Tree, ...]]:
        velocity = combine(self.momentum, state.moments[0], 1.0, gradient) if state.moments else gradient
        ahead = combine(1.0, gradient, self.momentum, velocity) if self.nesterov else velocity
        return scale(-self.learning_rate, ahead), (velocity,)


class Adam(FirstOrder):
    """Adam (Kingma and Ba 2015).

    Args:
        learning_rate: α. betas: decay of the first and second moment. epsilon: added to the root of the second.
        l2: weight of (1/2) ‖θ‖² in the objective.
    """

    moment_names = ("first moment", "second moment")

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        l2: float = 0.0,
    ) -> None:
        self.learning_rate = learning_rate
        self.betas = betas
        self.epsilon = epsilon
        self.l2 = l2

    def _update(self, gradient: Tree, state: FirstOrderState) -> tuple[Tree, tuple[Tree, ...]]:
        first, second = state.moments or (scale(0.0, gradient), scale(0.0, gradient))
        b1, b2 = self.betas
        k = state.step + 1
        first = combine(b1, first, 1 - b1, gradient)
        second = tree_map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradient)
        c1, c2 = 1 - b1**k, 1 - b2**k

        def update(m: Any, v: Any) -> Any:
            return (-self.learning_rate / c1) * m / (namespace(v).sqrt(v / c2) + self.epsilon)

        return tree_map(update, first, second), (first, second)
