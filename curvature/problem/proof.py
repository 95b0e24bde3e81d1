"""Proving how parameters enter a model, on the host: what a backend reports is a claim (docs/decisions/0006)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Backend, ParameterUses, Use
from ..errors import ModelError
from ..trees import ParameterSpace, leaves, tree_map
from . import use_gradients
from .batch import Batch
from .structure import Layers, layers_of, signature

if TYPE_CHECKING:
    from .problem import Problem

Array = Any

_COMPARED = 32
"""At most so many examples are evaluated once more, so that memory for a large batch suffices for its proof."""


def find_layers(problem: Problem, batch: Batch, uses: ParameterUses) -> Layers:
    """Prove the backend's uses on this batch, then make layers of them; what fails the proof becomes ``general``.

    The proof is made at parameters nearby: at zeros (a head that starts at zero) everything would pass it.
    """
    doubted = dict(uses.unrecognised)
    for name in uses.unused:
        doubted.setdefault(name, "it does not enter the model")
    if problem.backend.is_abstract(uses.outputs):
        return _found_on_numbers(problem, batch, doubted, uses)
    nearby, there = _nearby(problem, batch, uses)
    for name, reason in (*_misplaced(nearby, batch, there), *_disproved(nearby, batch, there)):
        doubted.setdefault(name, reason)
    return Layers(layers_of(problem.space, uses.uses, doubted), uses.unused)


def _found_on_numbers(problem: Problem, batch: Batch, doubted: dict[str, str], uses: ParameterUses) -> Layers:
    """While the caller's program is being compiled there are no values: the proof is made on other ones of these shapes."""
    backend, random = problem.backend, np.random.default_rng(2)

    def numbers(array: Array) -> Array:
        shape = tuple(int(d) for d in array.shape)
        if problem.xp.isdtype(array.dtype, "real floating"):
            return backend.asarray(random.standard_normal(shape), dtype=array.dtype)
        return backend.asarray(random.integers(0, 2, shape), dtype=array.dtype)

    with backend.at_once():
        elsewhere = problem.at(tree_map(numbers, problem.params))
        of_numbers = Batch(tree_map(numbers, batch.x), numbers(batch.y), None, batch.index)
        there = elsewhere.recorded(of_numbers)
        if not backend.is_abstract(there.outputs) and signature(there, batch.size) == signature(uses, batch.size):
            return find_layers(elsewhere, of_numbers, there)
    reason = "the program that is being compiled shows no values to prove its way into the model; evaluate once outside of it"
    return Layers(layers_of(problem.space, (), {**dict.fromkeys(problem.space.names, reason), **doubted}), uses.unused)


def require_separate_examples(problem: Problem, batch: Batch, outputs: Array, turn: int) -> None:
    """The outputs of an example must not depend on its neighbours: no batch norm in training, no dropout.

    Asked at the first ten evaluations of a model and at every tenth after them, since a module may be put in training mode
    at any time; it costs two examples' outputs. The examples are the last and another one, which changes from turn to turn:
    what depends on the examples before it alone leaves the first one as it is.

    Raises:
        ModelError: if they do.
    """
    if batch.x is None or batch.size == 1 or problem.backend.is_abstract(outputs):
        return
    other = int(np.random.default_rng(turn).integers(0, batch.size - 1))
    pair = [batch.size - 1, other]
    within = _on_host(problem.backend, outputs)
    beside = _on_host(problem.backend, problem.backend.evaluate(problem.outputs_of(_some(problem, batch, pair)), problem.params))
    _require_same(problem, batch, within[pair], beside, within)


def _some(problem: Problem, batch: Batch, examples: Sequence[int]) -> Batch:
    """A batch of some of the examples, in that order."""
    xp, backend = problem.xp, problem.backend
    numbers = backend.asarray(np.asarray(examples), device=problem.model.device)
    return Batch(tree_map(lambda a: xp.take(a, numbers, axis=0), batch.x), xp.take(batch.y, numbers, axis=0), None, batch.index)


def _require_same(problem: Problem, batch: Batch, within: np.ndarray, beside: np.ndarray, all_outputs: np.ndarray) -> None:
    """Up to rounding: of the outputs themselves, and where these are small differences, such as the residuals of an equation
    that is nearly solved, of what they are differences of.
    """
    gap, eps = float(np.max(np.abs(beside - within), initial=0.0)), float(problem.xp.finfo(problem.model.dtype).eps)
    if gap <= 1e4 * eps * float(np.max(np.abs(all_outputs), initial=0.0)):
        return
    if not gap <= 1e4 * eps * _moved_by_rounding(problem, batch):
        raise ModelError(
            f"the outputs of some examples among others differ from those within their batch (by {gap:.2g}): the model "
            f"couples its examples or is random (batch norm or dropout in training mode, a first axis that is not that of the "
            f"examples?). Curvature by layer needs independent examples; put the model in evaluation mode"
        )


def _moved_by_rounding(problem: Problem, batch: Batch) -> float:
    """The largest change of an output, in units of eps, if every parameter changes by ± eps of itself."""
    backend, rng = problem.backend, np.random.default_rng(3)

    def signed(parameter: Array) -> Array:
        signs = rng.choice((-1.0, 1.0), tuple(int(n) for n in parameter.shape))
        return parameter * backend.asarray(signs, dtype=parameter.dtype, device=problem.model.device)

    moved = backend.jvp(problem.outputs_of(batch), problem.params, tree_map(signed, problem.params))[1]
    return float(np.max(np.abs(_on_host(backend, moved)), initial=0.0))


def _misplaced(problem: Problem, batch: Batch, uses: ParameterUses) -> Iterator[tuple[str, str]]:
    """(path, reason) of parameters whose inputs are not, row by row, those of the examples.

    Some of the examples (without the first, the last of them first) must have the same outputs and inputs in that order: a
    model that sorts its examples, and a table of as many rows, do not.

    Raises:
        ModelError: if outputs depend on the neighbours of an example.
    """
    if batch.x is None or batch.size == 1:
        return
    backend, n, eps = problem.backend, batch.size, problem.xp.finfo(uses.outputs.dtype).eps
    kept = sorted({round(i) for i in np.linspace(1 if n > 2 else 0, n - 1, min(n, _COMPARED))}, reverse=True)
    fewer = problem.recorded(_some(problem, batch, kept))
    within = _on_host(backend, uses.outputs)
    _require_same(problem, batch, within[kept], _on_host(backend, fewer.outputs), within)
    others: dict[Any, list[Use]] = {}
    for use in fewer.uses:
        others.setdefault((use.parameter, use.kind, use.bias), []).append(use)
    for use in uses.uses:
        there = others.get((use.parameter, use.kind, use.bias), [])
        other = there.pop(0) if there else None
        names = [use.parameter] + ([use.bias] if use.bias else [])
        if other is None or not _same_inputs(backend, use, other, kept, float(eps)):
            yield from dict.fromkeys(names, "its inputs there are not, row by row, those of the examples").items()


def _same_inputs(backend: Backend, use: Use, other: Use, kept: Sequence[int], eps: float) -> bool:
    if use.inputs is None or other.inputs is None:
        return use.inputs is other.inputs
    if tuple(other.inputs.shape) != (len(kept), *(int(d) for d in use.inputs.shape[1:])):
        return False
    inputs, found = _on_host(backend, use.inputs), _on_host(backend, other.inputs)
    if use.inputs.shape[0] != kept[0] + 1:
        return False
    if use.kind == "embedding":
        return bool(np.array_equal(inputs[kept], found))
    gap, size = np.max(np.abs(inputs[kept] - found), initial=0.0), np.max(np.abs(inputs), initial=0.0)
    return bool(gap <= 1e4 * eps * size)


def _nearby(problem: Problem, batch: Batch, uses: ParameterUses) -> tuple[Problem, ParameterUses]:
    """The problem at parameters with noise, and its uses there; without noise where the model has no values nearby."""
    expected = signature(uses, batch.size)
    for noise in (0.1, 1e-3):
        moved = problem.at(_perturbed(problem, noise))
        try:
            with np.errstate(all="ignore"):
                there = moved.recorded(batch)
        except Exception:
            continue
        if signature(there, batch.size) == expected and np.all(np.isfinite(_on_host(problem.backend, there.outputs))):
            return moved, there
    return problem, uses


def _perturbed(problem: Problem, noise: float) -> Any:
    """Parameters with noise of that share of their own size, or of the share itself where they are zero."""
    backend, random = problem.backend, np.random.default_rng(1)

    def moved(array: Array) -> Array:
        values = _on_host(backend, array)
        scale = noise * (float(np.sqrt(np.mean(values**2))) or 1.0)
        return backend.asarray(values + scale * random.standard_normal(values.shape), dtype=array.dtype)

    return tree_map(moved, problem.params)


def _disproved(problem: Problem, batch: Batch, uses: ParameterUses) -> Iterator[tuple[str, str]]:
    """(path, reason) of parameters whose reported uses do not give their gradient, or mix examples."""
    backend, space = problem.backend, problem.space
    n, outputs = batch.size, uses.outputs
    tolerance = 1e3 * float(problem.xp.finfo(outputs.dtype).eps) ** (2 / 3)
    seed = np.random.default_rng(0).standard_normal(tuple(int(d) for d in outputs.shape))
    gradient, cotangents = uses.pull_both(backend.asarray(seed, dtype=outputs.dtype))
    expected = {name: np.ravel(_on_host(backend, g)) for name, g in zip(space.names, leaves(gradient), strict=True)}
    probed = sorted({0, n // 2, n - 1})
    single = np.stack([np.where(np.arange(n)[:, None] == i, seed, 0.0) for i in probed])
    alone = uses.cotangents(backend.asarray(single, dtype=outputs.dtype)) if n > 1 else cotangents
    found: dict[str, Array] = {}
    sizes: dict[str, Array] = {}
    bad: dict[str, str] = {}
    for use, g, lone in zip(uses.uses, cotangents, alone, strict=True):
        names = [use.parameter] + ([use.bias] if use.bias else [])
        if g.ndim < 3 or g.shape[1] != n or (use.inputs is not None and use.inputs.shape[0] != n):
            bad.update(dict.fromkeys(names, "its examples do not lie on the first axis"))
            continue
        if n > 1 and any(np.any(np.delete(_on_host(backend, lone[r, ...]), i, axis=0) != 0) for r, i in enumerate(probed)):
            bad.update(dict.fromkeys(names, "examples are mixed where it enters"))
            continue
        here, values = _use_on_host(backend, use), _on_host(backend, g)[0]
        _accumulate_use(found, here, values, space)
        _accumulate_use(sizes, _without_signs(here), np.abs(values), space)
    for name, value in found.items():
        gap, target = float(np.linalg.norm(value - expected[name])), float(np.linalg.norm(expected[name]))
        # Gradients that cancel to nothing (a key's bias, which softmax does not see) leave rounding of what cancelled.
        rounding = 1e2 * float(problem.xp.finfo(outputs.dtype).eps) * float(np.linalg.norm(sizes[name]))
        if name not in bad and not gap <= tolerance * target + rounding + 1e-30:
            bad[name] = "its recognised uses do not make up its gradient"
    yield from bad.items()


def _accumulate_use(found: dict[str, Array], use: Use, g: Array, space: ParameterSpace) -> None:
    """Add what one use makes of the gradients, from its cotangents (N, *positions, d_out)."""
    size = space.sizes[space.index(use.parameter)]
    _accumulate(found, use.parameter, use_gradients.resolved(np, use, use_gradients.total(np, use, g), size))
    if use.bias:
        _accumulate(found, use.bias, np.sum(np.reshape(g, (-1, g.shape[-1])), axis=0))


def _without_signs(use: Use) -> Use:
    return use if use.inputs is None or use.kind == "embedding" else replace(use, inputs=np.abs(use.inputs))


def _accumulate(found: dict[str, Array], name: str, value: Array) -> None:
    found[name] = found[name] + value if name in found else value


def _use_on_host(backend: Backend, use: Use) -> Use:
    inputs = None if use.inputs is None else _on_host(backend, use.inputs)
    return replace(use, inputs=inputs, entries=None if use.entries is None else _on_host(backend, use.entries))


def _on_host(backend: Backend, array: Array) -> np.ndarray:
    """The array in NumPy, which knows no bfloat16: reduced precision is widened first."""
    xp = backend.xp
    if xp.isdtype(array.dtype, "real floating") and float(xp.finfo(array.dtype).eps) > 1e-6:
        array = xp.astype(array, xp.float32)
    return np.asarray(backend.to_numpy(array))
