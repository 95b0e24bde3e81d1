"""Trees like the parameters as dictionaries of arrays by name: what is written of an optimiser's state."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from ..problem import Problem

Tree = Any
Array = Any


def by_name(problem: Problem, tree: Tree) -> dict[str, Array]:
    """{name of the parameter: its array in ``tree``}, a tree like the parameters."""
    return dict(zip(problem.space.names, problem.space.flatten(tree), strict=True))


def from_names(problem: Problem, arrays: Any, *, what: str) -> Tree:
    """The tree like the parameters that ``by_name`` took apart.

    Args:
        problem: whose parameters.
        arrays: {name: array}.
        what: what it is, for the error.

    Raises:
        DataError: naming a parameter that is missing, too many, of another shape, dtype or library.
    """
    space = problem.space
    if not isinstance(arrays, dict):
        raise DataError(f"{what} is a dictionary of arrays by parameter, got a {type(arrays).__name__}")
    odd = sorted(set(space.names) ^ set(arrays))
    if odd:
        where = "the model has it and the state has not" if odd[0] in space.names else "the state has it and the model has not"
        raise DataError(f"{what} is of another model: {where}: parameter {odd[0]!r}; load a state of this model")
    for name, shape in zip(space.names, space.shapes, strict=True):
        array = arrays[name]
        if not problem.backend.owns(array):
            raise DataError(f"{what}: {name!r} is a {type(array).__name__}, no array of backend {problem.backend.name!r}")
        if tuple(array.shape) != shape or array.dtype != problem.model.dtype:
            raise DataError(
                f"{what} is of another model: {name!r} is {array.dtype} of shape {tuple(array.shape)}, the parameter "
                f"{problem.model.dtype} of shape {shape}; load a state of this model"
            )
    return space.unflatten([arrays[name] for name in space.names])
