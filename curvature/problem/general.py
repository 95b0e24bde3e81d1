"""Gradients of each example for parameters whose way into the model has no structure that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..backend import Support
from ..trees import leaves, tree_map
from .batch import Batch

if TYPE_CHECKING:
    from .evaluation import Evaluation

Array = Any

_CHUNK = 2**24
"""About how many numbers the gradients of the examples that are taken at once may hold."""


def example_gradients(evaluation: Evaluation, names: Sequence[str], factor: Array) -> dict[str, Array]:
    """J_nᵀ S_n of each named parameter array, (N, size, R).

    A parameter array of fewer numbers than there are (example, column) pairs is differentiated forwards, all examples at
    once; any other backwards, example by example.
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
            _, pushes, _ = problem.backend.linearize(problem.outputs_of(evaluation.batch), problem.params)
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
    """One example after the other, or several at once where the backend maps functions and can map this one."""
    problem, n = evaluation.problem, int(factor.shape[0])
    numbers = sum(problem.space.sizes[problem.space.index(name)] for name in names) * int(factor.shape[2])
    step = min(n, _CHUNK // max(1, numbers))
    if step > 1 and problem.backend.capabilities["vmap"].support is Support.NATIVE:
        # Libraries refuse to map in words of all kinds. This hides nothing: an error of the function itself comes again.
        with suppress(RuntimeError, TypeError, IndexError):
            return _mapped(evaluation, names, factor, step)
    return _one_by_one(evaluation, names, factor)


def _mapped(evaluation: Evaluation, names: Sequence[str], factor: Array, step: int) -> dict[str, Array]:
    xp, x = evaluation.problem.xp, evaluation.batch.x
    pull = _puller(evaluation, names)

    def one(s: Array, *inputs: Array) -> list[Array]:
        return pull(_like(x, [a[None, ...] for a in inputs]), s)

    mapped = evaluation.problem.backend.vmap(one)
    chunks = []
    for start in range(0, int(factor.shape[0]), step):
        here = slice(start, start + step)
        chunks.append(mapped(factor[here, ...], *(a[here, ...] for a in leaves(x))))
    return {name: xp.concat([chunk[i] for chunk in chunks], axis=0) for i, name in enumerate(names)}


def _one_by_one(evaluation: Evaluation, names: Sequence[str], factor: Array) -> dict[str, Array]:
    xp, x = evaluation.problem.xp, evaluation.batch.x
    pull = _puller(evaluation, names)
    rows = []
    for example in range(int(factor.shape[0])):
        here = slice(example, example + 1)
        rows.append(pull(_like(x, [a[here, ...] for a in leaves(x)]), factor[example, ...]))
    return {name: xp.stack([row[i] for row in rows], axis=0) for i, name in enumerate(names)}


def _puller(evaluation: Evaluation, names: Sequence[str]) -> Callable[[Any, Array], list[Array]]:
    """(x of one example, S_n (C, R)) -> J_nᵀ S_n of each named parameter array, (size, R)."""
    problem, xp = evaluation.problem, evaluation.problem.xp
    indices = [problem.space.index(name) for name in names]
    everything = leaves(problem.params)
    y = evaluation.batch.y[:1, ...]

    def pull(x: Any, s: Array) -> list[Array]:
        one = Batch(x, y)

        def outputs(arrays: list[Array]) -> Array:
            merged = list(everything)
            for i, array in zip(indices, arrays, strict=True):
                merged[i] = array
            return problem.outputs(problem.space.unflatten(merged), one)

        _, back = problem.backend.vjp(outputs, [everything[i] for i in indices])
        columns = [back(s[None, :, j]) for j in range(int(s.shape[1]))]
        return [xp.stack([xp.reshape(c[i], (-1,)) for c in columns], axis=1) for i in range(len(indices))]

    return pull


def _like(tree: Any, arrays: Sequence[Array]) -> Any:
    """A tree with other leaves."""
    following = iter(arrays)
    return None if tree is None else tree_map(lambda _: next(following), tree)
