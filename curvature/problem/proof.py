"""Proving how parameters enter a model, on the host: what a backend reports is a claim (docs/decisions/0006)."""

from __future__ import annotations

from collections.abc import Iterator
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


def find_layers(problem: Problem, batch: Batch, uses: ParameterUses) -> Layers:
    """Prove the backend's uses on this batch, then make layers of them; what fails the proof becomes ``general``.

    The proof is made at parameters nearby: at zeros (a head that starts at zero) everything would pass it.
    """
    doubted = dict(uses.unrecognised)
    for name in uses.unused:
        doubted.setdefault(name, "it does not enter the model")
    if problem.backend.is_abstract(uses.outputs):  # a compiler's view of the program is complete, and there are no values
        return Layers(layers_of(problem.space, uses.uses, doubted), uses.unused)
    nearby, there = _nearby(problem, batch, uses)
    require_separate_examples(nearby, batch, there.outputs)
    for name, reason in _disproved(nearby, batch, there):
        doubted.setdefault(name, reason)
    return Layers(layers_of(problem.space, uses.uses, doubted), uses.unused)


def require_separate_examples(problem: Problem, batch: Batch, outputs: Array) -> None:
    """The first example's outputs must not depend on its neighbours: no batch norm in training, no dropout.

    Asked at the first ten evaluations of a model and at every tenth after them, since a module may be put in training mode
    at any time; it costs two examples' outputs.

    Raises:
        ModelError: if they do.
    """
    backend, xp = problem.backend, problem.xp
    if batch.x is None or batch.size == 1 or backend.is_abstract(outputs):
        return

    # Beside itself rather than alone: batch norm in training refuses a batch of one.
    def twice(a: Array) -> Array:
        return xp.concat([a[:1, ...], a[:1, ...]], axis=0)

    beside_itself = Batch(tree_map(twice, batch.x), twice(batch.y), None, batch.index)
    first = _on_host(backend, backend.evaluate(problem.outputs_of(beside_itself), problem.params))[:1]
    within = _on_host(backend, outputs)
    gap = float(np.max(np.abs(first - within[:1])))
    if not gap <= 1e4 * float(xp.finfo(outputs.dtype).eps) * float(np.max(np.abs(within))):
        raise ModelError(
            f"the outputs of the first example beside itself differ from those within its batch (by {gap:.2g}): the model "
            f"couples its examples or is random (batch norm or dropout in training mode?). Curvature by layer needs "
            f"independent examples; put the model in evaluation mode"
        )


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
    first = np.where(np.arange(n)[:, None] == 0, seed, 0.0)[None, ...]
    alone = uses.cotangents(backend.asarray(first, dtype=outputs.dtype)) if n > 1 else cotangents
    found: dict[str, Array] = {}
    sizes: dict[str, Array] = {}
    bad: dict[str, str] = {}
    for use, g, lone in zip(uses.uses, cotangents, alone, strict=True):
        names = [use.parameter] + ([use.bias] if use.bias else [])
        if g.ndim < 3 or g.shape[1] != n or (use.inputs is not None and use.inputs.shape[0] != n):
            bad.update(dict.fromkeys(names, "its examples do not lie on the first axis"))
            continue
        if n > 1 and np.any(_on_host(backend, lone)[0, 1:] != 0):
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
