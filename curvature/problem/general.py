"""Gradients of each example for parameters whose way into the model has no structure that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..trees import leaves, tree_map
from .batch import Batch

if TYPE_CHECKING:
    from .evaluation import Evaluation

Array = Any


def example_gradients(evaluation: Evaluation, names: Sequence[str], factor: Array) -> dict[str, Array]:
    """J_nᵀ S_n of each named parameter array, (N, size, R).

    A parameter array of fewer numbers than there are (example, column) pairs is differentiated forwards, all examples at
    once; any other backwards, one example at a time.
    """
    problem = evaluation.problem
    space, xp = problem.space, problem.xp
    n, r = int(factor.shape[0]), int(factor.shape[2])
    gradients: dict[str, Array] = {}
    backward: list[str] = []
    pushes = None
    for name in names:
        size = space.sizes[space.index(name)]
        if size > n * r:
            backward.append(name)
            continue
        if pushes is None:
            _, pushes, _ = problem.backend.linearize(lambda params: problem.outputs(params, evaluation.batch), problem.params)
        jacobian = _forward_jacobian(evaluation, pushes, space.index(name))
        gradients[name] = jacobian @ factor
    if backward:
        gradients.update(_backward_gradients(evaluation, backward, factor))
    return {name: xp.reshape(gradients[name], (n, -1, r)) for name in names}


def _forward_jacobian(evaluation: Evaluation, push: Any, index: int) -> Array:
    """∂f_n/∂p transposed, (N, size, C), a column at a time."""
    problem = evaluation.problem
    space, xp = problem.space, problem.xp
    zeros = [xp.zeros_like(leaf) for leaf in leaves(problem.params)]
    size = space.sizes[index]
    identity = xp.eye(size, dtype=problem.model.dtype, device=problem.backend.device)
    columns = []
    for j in range(size):
        tangent = list(zeros)
        tangent[index] = xp.reshape(identity[j, :], space.shapes[index])
        columns.append(push(space.unflatten(tangent)))
    if not columns:
        n, c = evaluation.outputs.shape
        return xp.zeros((n, 0, c), dtype=problem.model.dtype, device=problem.backend.device)
    return xp.stack(columns, axis=1)


def _backward_gradients(evaluation: Evaluation, names: Sequence[str], factor: Array) -> dict[str, Array]:
    problem, batch = evaluation.problem, evaluation.batch
    space, xp = problem.space, problem.xp
    indices = [space.index(name) for name in names]
    everything = leaves(problem.params)
    selected = [everything[i] for i in indices]

    def outputs_of(one: Batch) -> Any:
        def outputs(arrays: list[Array]) -> Array:
            merged = list(everything)
            for i, array in zip(indices, arrays, strict=True):
                merged[i] = array
            return problem.outputs(space.unflatten(merged), one)

        return outputs

    rows: list[list[Array]] = [[] for _ in names]
    for example in range(batch.size):
        here = slice(example, example + 1)
        x = None if batch.x is None else tree_map(lambda a, here=here: a[here, ...], batch.x)
        _, pull = problem.backend.vjp(outputs_of(Batch(x, batch.y[here, ...])), selected)
        columns = [pull(factor[here, :, j]) for j in range(int(factor.shape[2]))]
        for position in range(len(names)):
            stacked = [xp.reshape(column[position], (-1,)) for column in columns]
            rows[position].append(xp.stack(stacked, axis=1))
    return {name: xp.stack(row, axis=0) for name, row in zip(names, rows, strict=True)}
