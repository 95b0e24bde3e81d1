"""Gradients of each example for parameters whose way into the model has no structure that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..backend import Keyed, Support
from ..trees import flatten, leaves, tree_map, unflatten
from .batch import Batch
from .functions import outputs_function

if TYPE_CHECKING:
    from ..backend import Backend
    from .evaluation import Evaluation

Array = Any
Tree = Any

_CHUNK = 2**24
"""About how many numbers the gradients of the examples that are taken at once may hold."""


def example_gradients(evaluation: Evaluation, names: Sequence[str], factor: Array) -> dict[str, Array]:
    """J_nᵀ S_n of each named parameter array, (N, size, R).

    Backwards and mapped over the examples where the backend maps functions and all of them together have more numbers than there
    are columns. Elsewhere an array of fewer numbers than there are (example, column) pairs is differentiated forwards, all
    examples at once; any other backwards, example by example.
    """
    problem = evaluation.problem
    space, xp = problem.space, problem.xp
    n, r = int(factor.shape[0]), int(factor.shape[2])
    gradients: dict[str, Array] = {}
    backward: list[str] = []
    pushes, total = None, sum(space.sizes[space.index(name)] for name in names)
    bound = 0 if maps_examples(problem.backend) and total > r else n * r
    for name in names:
        size = space.sizes[space.index(name)]
        if size > bound:
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
    if step > 1 and maps_examples(problem.backend):
        # Libraries refuse to map in words of all kinds. This hides nothing: an error of the function itself comes again.
        with suppress(RuntimeError, TypeError, IndexError):
            return _mapped(evaluation, names, factor, step)
    return _one_by_one(evaluation, names, factor)


def _mapped(evaluation: Evaluation, names: Sequence[str], factor: Array, step: int) -> dict[str, Array]:
    """Several examples at once, by one program where the backend compiles."""
    problem, batch = evaluation.problem, evaluation.batch
    backend, space, xp = problem.backend, problem.space, problem.xp
    inputs, form = flatten(batch.x)
    outputs_of = outputs_function(problem.model, problem.likelihood, 1, batch.x is not None)
    indices = [space.index(name) for name in names]

    def gradients(given: Tree, data: None) -> list[Array]:
        everything, cotangents, examples = given

        def one(s: Array, *example: Array) -> list[Array]:
            x = unflatten(form, [a[None, ...] for a in example]) if example else None

            def outputs(arrays: list[Array]) -> Array:
                merged = list(everything)
                for i, array in zip(indices, arrays, strict=True):
                    merged[i] = array
                return outputs_of(space.unflatten(merged), x)

            return _columns(backend, outputs, [everything[i] for i in indices], s)

        mapped: list[Array] = backend.vmap(one)(cotangents, *examples)
        return mapped

    program = Keyed(gradients, ("gradients of each example", tuple(names), form), problem.model.compiled).on(None)
    everything, chunks = leaves(problem.params), []
    for start in range(0, int(factor.shape[0]), step):
        here = slice(start, start + step)
        chunks.append(backend.evaluate(program, [everything, factor[here, ...], [a[here, ...] for a in inputs]]))
    return {name: _joined(xp, [chunk[i] for chunk in chunks]) for i, name in enumerate(names)}


def maps_examples(backend: Backend) -> bool:
    """Whether the backend maps a function over examples by its own means."""
    return backend.capabilities["vmap"].support is Support.NATIVE


def _joined(xp: Any, chunks: list[Array]) -> Array:
    return chunks[0] if len(chunks) == 1 else xp.concat(chunks, axis=0)


def _columns(backend: Backend, outputs: Callable[[list[Array]], Array], at: list[Array], s: Array) -> list[Array]:
    """Jᵀ S of each array, (size, R), for the outputs (1, C) of one example and S (C, R)."""
    xp = backend.xp
    _, back = backend.vjp(outputs, at)
    columns = [back(s[None, :, j]) for j in range(int(s.shape[1]))]
    return [xp.stack([xp.reshape(c[i], (-1,)) for c in columns], axis=1) for i in range(len(at))]


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
    problem = evaluation.problem
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

        return _columns(problem.backend, outputs, [everything[i] for i in indices], s)

    return pull


def _like(tree: Any, arrays: Sequence[Array]) -> Any:
    """A tree with other leaves."""
    following = iter(arrays)
    return None if tree is None else tree_map(lambda _: next(following), tree)
