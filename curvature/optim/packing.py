"""The state of a natural-gradient run as a nested dictionary of arrays, numbers and strings, and back."""

from __future__ import annotations

from typing import Any

from ..approximation import built
from ..errors import DataError
from ..matrices import Fisher
from ..problem import Problem
from ..trees import leaves
from .plan import Options, Plan, choose
from .state import State

FORMAT = 1
NUMBERS = ("step", "damping", "gamma", "updates", "built_damping", "age", "rate", "best", "failures")
PARAMETERS = ("velocity", "direction", "previous", "average", "best_params")
"""Fields that are trees like the parameters."""


def packed(state: State) -> dict[str, Any]:
    """See ``NaturalGradient.state_dict``."""
    space = state.problem.space
    found: dict[str, Any] = {"format": FORMAT, "names": list(space.names), "shapes": [list(shape) for shape in space.shapes]}
    if state.plan is None:
        return found | {"rules": None, "numbers": {name: getattr(state, name) for name in NUMBERS}}
    found["rules"] = _rules(state.plan)
    found["numbers"] = {name: getattr(state, name) for name in NUMBERS}
    found["trees"] = {name: leaves(getattr(state, name)) for name in PARAMETERS if getattr(state, name) is not None}
    found["solution"] = state.solution
    found["memory"] = list(state.memory)
    found["minibatch"], found["positions"] = state.plan.minibatch, state.plan.positions
    found["statistics"] = state.statistics
    found["built"] = state.built
    return found


def unpacked(found: dict[str, Any], problem: Problem, options: Options) -> State:
    """See ``NaturalGradient.load_state_dict``."""
    if not isinstance(found, dict) or "format" not in found:
        raise DataError("this is no state of a NaturalGradient; pass what its state_dict(state) returned")
    if found["format"] != FORMAT:
        raise DataError(f"this state has the format {found['format']}, of another version; this version reads {FORMAT}")
    space = problem.space
    theirs = dict(zip(found["names"], (tuple(shape) for shape in found["shapes"]), strict=True))
    ours = dict(zip(space.names, space.shapes, strict=True))
    if list(theirs) != list(ours) or theirs != ours:
        name = next(n for n in [*ours, *theirs] if ours.get(n) != theirs.get(n) or list(theirs) != list(ours))
        raise DataError(
            f"this state is of another model: {name!r} has shape {theirs.get(name, 'none')} there and {ours.get(name, 'none')} "
            f"here; build the model as it was, or begin anew with init(problem)"
        )
    numbers = dict(found["numbers"])
    if found["rules"] is None:
        return State(problem=problem, **numbers)
    plan = choose(options, problem, minibatch=int(found["minibatch"]), positions=int(found["positions"]))
    if _rules(plan) != found["rules"]:
        differ = [key for key, value in _rules(plan).items() if found["rules"].get(key) != value]
        said = "; ".join(f"{key}: {found['rules'].get(key)} there, {_rules(plan)[key]} here" for key in differ)
        raise DataError(f"this state is of other rules ({said}); make the optimiser as it was, or begin anew with init(problem)")
    statistics, operator = found["built"], None
    if statistics is not None:
        method, remaining = plan.method.damped(numbers["built_damping"])
        operator = built(method, statistics, problem.structure.of(Fisher(problem)))
        if numbers["age"]:
            # Some operators form inverses at their second solve; the one that was saved had its first.
            nothing = problem.space.ravel(problem.xp, problem.params) * 0.0
            operator.solve(nothing, damping=remaining)
    return State(
        problem=problem,
        plan=plan,
        statistics=found["statistics"],
        built=statistics,
        operator=operator,
        solution=found["solution"],
        memory=tuple(found["memory"]),
        **{name: space.unflatten(arrays) for name, arrays in found["trees"].items()},
        **numbers,
    )


def _rules(plan: Plan) -> dict[str, str]:
    names = (
        "method",
        "fisher",
        "damping",
        "learning_rate",
        "acceleration",
        "decay",
        "refresh",
        "statistics_share",
        "model_share",
        "statistics_every",
        "averaging",
    )
    rules = {name: getattr(plan, name) for name in names}
    return {name: getattr(rule, "__qualname__", None) or str(rule) for name, rule in rules.items()}
