"""Run a model on two examples before any long work, so that what does not fit is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Backend
from ..errors import CurvatureError, ModelError
from ..trees import leaves, tree_map
from .batch import Batch, is_finite, seen_on_host
from .functions import as_matrix, returned_function

if TYPE_CHECKING:
    from .problem import Problem

Array = Any
Tree = Any


def try_model(problem: Problem, batch: Batch) -> None:
    """Run the model once for each form of the inputs, and keep the shape of an output in ``problem.model.tried``.

    Raises:
        ModelError: naming the shapes of inputs and parameters, or the parameters that are NaN, or the argument that the model
            writes into.
    """
    if batch.form in problem.model.tried:
        return
    few = batch.part(slice(0, min(2, batch.size)))

    def copy(array: Array) -> Array:
        return array if problem.backend.is_abstract(array) else problem.xp.asarray(array, copy=True)

    # Copies, so that a model that writes into its arguments is found out before it has spoilt anything.
    given = tree_map(copy, {"params": problem.params, "x": few.x})
    try:
        returned = problem.backend.evaluate(returned_function(problem.model).on(given["x"]), given["params"])
        as_matrix(returned, few.size, few.x is not None, problem.likelihood)
    except CurvatureError:
        raise
    except Exception as error:
        raise ModelError(_explained(problem, batch, error)) from error
    _require_unchanged(problem, given, few)
    for name, leaf in zip(problem.space.names, leaves(problem.params), strict=True):
        if not problem.backend.is_abstract(leaf) and not is_finite(problem.backend, leaf):
            raise ModelError(f"parameter {name!r} is NaN or infinite")
    problem.model.tried[batch.form] = tuple(int(n) for n in returned.shape[0 if batch.x is None else 1 :])


def _explained(problem: Problem, batch: Batch, error: Exception) -> str:
    inputs = "no inputs" if batch.x is None else "inputs " + ", ".join(str(tuple(a.shape)) for a in leaves(batch.x))
    names = problem.space.names
    shapes = ", ".join(f"{name}: {shape}" for name, shape in zip(names[:8], problem.space.shapes, strict=False))
    return (
        f"batch {batch.index}: apply(params, x) raised {type(error).__name__}: {error} (with {inputs}; parameters "
        f"{shapes}{', …' if len(names) > 8 else ''})"
    )


def _require_unchanged(problem: Problem, given: dict[str, Tree], batch: Batch) -> None:
    """Refuse a model that wrote into the copies of its arguments.

    Raises:
        ModelError: naming the argument.
    """
    names = [f"parameter {name!r}" for name in problem.space.names] + ["its inputs x"] * len(leaves(batch.x))
    before = [*leaves(problem.params), *leaves(batch.x)]
    for name, old, new in zip(names, before, [*leaves(given["params"]), *leaves(given["x"])], strict=True):
        if new is old or problem.backend.is_abstract(new):
            continue
        if _differ(problem.backend, old, new):
            raise ModelError(
                f"apply(params, x) writes into {name} in place, so that each evaluation would be of another model or of "
                f"other data; make a new array instead: x = x + 1 rather than x += 1"
            )


def _differ(backend: Backend, old: Array, new: Array) -> bool:
    """Whether a number is another one; NaN is not another NaN."""
    if seen_on_host(backend, old):
        return not np.array_equal(
            backend.to_numpy(old), backend.to_numpy(new), equal_nan=backend.xp.isdtype(old.dtype, "real floating")
        )
    return bool(backend.xp.any((new != old) & ((old == old) | (new == new))))
