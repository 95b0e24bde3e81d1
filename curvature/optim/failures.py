"""Steps that leave the numbers: which example, and what to do."""

from __future__ import annotations

import math

from ..backend import has_values
from ..errors import DivergedError
from .local import Local
from .state import State


def culprit(local: Local, squared_norm: float, state: State, failures: int) -> DivergedError:
    """The error of a step whose objective or gradient is not finite."""
    where = f"step {state.step}: the objective is {local.value}, its gradient's norm {squared_norm**0.5}"
    if failures > 1:
        where += f", the {failures}. time in a row"
    remedy = "lower the learning rate or raise the damping"
    if state.previous is None:
        remedy = "the parameters or the data that it starts from are to blame"
    error = DivergedError(f"{where}{_first_example(local)}; {remedy}")
    error.params = local.problem.params if state.previous is None else state.previous
    return error


def _first_example(local: Local) -> str:
    """The first example whose loss is not finite, where that is what failed."""
    problem = local.problem
    for batch in problem.batches():
        outputs = problem.backend.evaluate(problem.outputs_of(batch), problem.params)
        losses = problem.likelihood.losses(outputs, problem.targets(batch))
        if not has_values(losses):
            return ""
        for example, value in enumerate(problem.backend.to_numpy(losses).tolist()):
            if not math.isfinite(value):
                return f" (batch {batch.index}, example {example}: its loss is {value})"
    return ""
