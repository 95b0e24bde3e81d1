"""Uses of parameters, with cotangents of their outputs: one compiled evaluation, and compiled ways back from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

import curvature as cv
from curvature.backend import Keyed

from .arrays import has_float64
from .errors import traceable
from .examples import find_examples
from .found import Found
from .packed import Packed
from .program import Program
from .resolution import resolve

Array = Any
Tree = Any


def parameter_uses(f: Callable[[Tree, Any], Array], params: Tree, x: Any) -> JaxParameterUses:
    """Evaluate f(params, x) and report how each parameter entered."""
    space = cv.ParameterSpace.of(params)
    arrays, data = space.flatten(params), Packed.of(x)
    return JaxParameterUses(_analysis(f, space, arrays, data), space, arrays, data.leaves)


def _analysis(f: Any, space: cv.ParameterSpace, arrays: list[Array], data: Packed) -> Analysis:
    """What is known of f at these shapes: kept with the model if f is a ``Keyed``."""
    types = tuple((tuple(a.shape), str(a.dtype)) for a in (*arrays, *data.leaves))
    slot = ("jax", "uses", getattr(f, "key", None), space.treespec, data.structure, types, has_float64())
    if isinstance(f, Keyed) and slot in f.compiled:
        return f.compiled[slot]  # type: ignore[no-any-return]
    analysis = Analysis(f, space, arrays, data, compiled=isinstance(f, Keyed))
    if analysis.is_compiled:
        f.compiled[slot] = analysis
    return analysis


class Analysis:
    """Program and uses of a function at given shapes; it holds no array of any evaluation.

    Attributes:
        found: the uses.
        unrecognised, unused: as in ``curvature.ParameterUses``.
        is_compiled: whether its methods are compiled.
    """

    def __init__(self, f: Any, space: cv.ParameterSpace, arrays: list[Array], data: Packed, *, compiled: bool) -> None:
        count = len(arrays)

        def flat(*leaves: Array) -> list[Array]:
            returned = f(space.unflatten(leaves[:count]), Packed(leaves[count:], data.structure).tree)
            if not isinstance(returned, jax.Array):
                raise cv.ModelError(f"parameter_uses needs a function that returns one array, got {type(returned).__name__}")
            return [returned]

        types = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*arrays, *data.leaves)]
        with traceable():
            self._program = Program.of(flat, types)
        examples = find_examples(self._program, lambda given: Program.of(flat, given), types, count)
        resolution = resolve(self._program, examples, count)
        self.found = resolution.found
        self.unrecognised = {space.names[i]: reason for i, reason in resolution.refused.items()}
        self.unused = tuple(space.names[i] for i in resolution.unused)
        self.is_compiled = compiled and self._program.is_free
        self._by_step: dict[int, list[int]] = {}
        for i, use in enumerate(self.found):
            self._by_step.setdefault(use.site.step, []).append(i)
        for name in ("forward", "pull", "cotangents", "pull_both", "inputs") if self.is_compiled else ():
            setattr(self, name, jax.jit(getattr(self, name)))

    # Compiled ---------------------------------------------------------------------------------------

    def forward(self, arrays: list[Array], data: list[Array]) -> tuple[Array, Any, list[list[Array]]]:
        """(outputs, the way back, the values from which inputs are made)."""
        # Zeros that are added to the output of every use: its cotangents are theirs.
        zeros = [jnp.zeros(use.layout.shape, self._dtype(use)) for use in self.found]
        outputs, back, sources = jax.vjp(lambda a, z: self._evaluate(a, data, z), arrays, zeros, has_aux=True)
        return outputs, back, sources

    def pull(self, back: Any, seed: Array) -> list[Array]:
        """Jᵀ seed."""
        return back(seed)[0]

    def cotangents(self, back: Any, seeds: Array) -> list[Array]:
        """(R, N, *positions, d_out) for every use."""
        if seeds.shape[0] == 1:
            return [g[None, ...] for g in self._arranged(back(seeds[0, ...])[1])]
        return jax.vmap(lambda seed: self._arranged(back(seed)[1]))(seeds)

    def pull_both(self, back: Any, seed: Array) -> tuple[list[Array], list[Array]]:
        """Both from one pass."""
        pulled, cotangents = back(seed)
        return pulled, [g[None, ...] for g in self._arranged(cotangents)]

    def inputs(self, sources: list[list[Array]]) -> list[Array | None]:
        """The inputs of every use."""
        return [None if use.prepare is None else use.prepare(*s) for use, s in zip(self.found, sources, strict=True)]

    # Parts ------------------------------------------------------------------------------------------

    def _arranged(self, cotangents: list[Array]) -> list[Array]:
        return [use.layout(g if use.sign == 1 else -g) for use, g in zip(self.found, cotangents, strict=True)]

    def _dtype(self, use: Found) -> Any:
        step = self._program.steps[use.site.step]
        value = step.kept[0] if use.site.operand is None else step.inputs[use.site.operand]
        return self._program.types[value].dtype

    def _evaluate(self, arrays: list[Array], data: list[Array], zeros: list[Array]) -> tuple[Array, list[list[Array]]]:
        program = self._program
        values = dict(program.constants)
        values.update(zip(program.arguments, (*arrays, *data), strict=True))
        for number, step in enumerate(program.steps):
            taken = [values[n] for n in step.inputs]
            here = self._by_step.get(number, ())
            for i in here:
                operand = self.found[i].site.operand
                if operand is not None:
                    taken[operand] = taken[operand] + zeros[i]
            made = list(step.run(taken))
            for i in here:
                if self.found[i].site.operand is None:
                    made[0] = made[0] + zeros[i]
            values.update(zip(step.kept, made, strict=True))
        sources = [[values[n] for n in use.sources] for use in self.found]
        return values[program.results[0]], sources


class JaxParameterUses(cv.ParameterUses):
    """What one evaluation showed; it holds the residuals of that evaluation until it is dropped."""

    unrecognised: Mapping[str, str]
    unused: tuple[str, ...]

    def __init__(self, analysis: Analysis, space: cv.ParameterSpace, arrays: list[Array], data: list[Array]) -> None:
        self._analysis = analysis
        self._space = space
        self.outputs, self._back, self._sources = analysis.forward(arrays, data)
        self.unrecognised = analysis.unrecognised
        self.unused = analysis.unused

    @cached_property
    def uses(self) -> tuple[cv.Use, ...]:  # type: ignore[override]
        """The recognised uses. (Patches of convolutions are cut when this is first asked for.)"""
        names = self._space.names
        return tuple(
            cv.Use(
                found.kind,
                names[found.parameter],
                None if found.bias is None else names[found.bias],
                inputs,
                found.matrix_shape,
                found.transposed,
                found.groups,
                None if found.entries is None else jnp.asarray(found.entries),
            )
            for found, inputs in zip(self._analysis.found, self._analysis.inputs(self._sources), strict=True)
        )

    def cotangents(self, seeds: Array) -> Sequence[Array]:
        return self._analysis.cotangents(self._back, seeds)

    def pull(self, seed: Array) -> Tree:
        return self._space.unflatten(self._analysis.pull(self._back, seed))

    def pull_both(self, seed: Array) -> tuple[Tree, Sequence[Array]]:
        pulled, cotangents = self._analysis.pull_both(self._back, seed)
        return self._space.unflatten(pulled), cotangents
