"""What the training loop asks of an optimiser."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import UnsupportedError
from ..optim import StepInfo
from ..problem import Problem

Tree = Any


class Optimizer(Protocol):
    """What ``fit`` asks of an optimiser: everything of ``curvature.optim`` has it."""

    def init(self, problem: Problem) -> Any:
        """The state at the start."""
        ...

    def step(self, params: Tree, state: Any, data: Any = None) -> tuple[Tree, Any, StepInfo]:
        """(params, state, info) after one update on ``data``."""
        ...


class Resumable(Optimizer, Protocol):
    """What a run with a checkpoint asks besides."""

    def state_dict(self, state: Any) -> dict[str, Any]:
        """All of a state but the problem: dict, list and tuple of arrays of its backend, numbers, strings, bools and None."""
        ...

    def load_state_dict(self, problem: Problem, packed: dict[str, Any]) -> Any:
        """The state that ``state_dict`` packed; ``DataError`` for one of another model or optimiser."""
        ...


def resumable(optimizer: Any) -> Resumable:
    """The optimiser, once it is known to have the two methods that a checkpoint needs.

    Raises:
        UnsupportedError: if it lacks one.
    """
    methods = ("state_dict", "load_state_dict")
    if not all(callable(getattr(optimizer, name, None)) for name in methods):
        raise UnsupportedError(
            f"a checkpoint needs the methods state_dict(state) and load_state_dict(problem, packed) of the optimiser, and "
            f"{type(optimizer).__name__} does not have both; leave checkpoint out, or write them (curvature.training.Optimizer)"
        )
    found: Resumable = optimizer
    return found
