"""A function in two parts: what depends on its first arguments alone is done now and then, the rest every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax

from .program import Program, Step

Array = Any
Tree = Any

_CHEAP = frozenset({"broadcast_in_dim", "convert_element_type", "copy", "expand_dims", "iota", "reshape", "squeeze", "transpose"})
"""What only moves or widens an array is done again rather than kept."""


class Staged:
    """``f(known, later)`` as ``finish(prepare(known), later)``, with arrays between the two that a state can carry.

    So decompositions of a matrix are kept from step to step without an operator having to be a tree of arrays: of the steps of
    ``f``, those that need nothing of ``later`` belong to ``prepare``, and it returns what the others take from them. What ``f``
    closes over is of the moment of ``finish``.

    Args:
        f: from two trees of arrays to an array.
        known, later: arguments, or their shapes and dtypes.
    """

    def __init__(self, f: Callable[[Tree, Tree], Array], known: Tree, later: Tree) -> None:
        first, self._known = jax.tree_util.tree_flatten(known)
        second, self._later = jax.tree_util.tree_flatten(later)

        def flat(*arrays: Array) -> tuple[Array]:
            one = jax.tree_util.tree_unflatten(self._known, arrays[: len(first)])
            other = jax.tree_util.tree_unflatten(self._later, arrays[len(first) :])
            return (f(one, other),)

        self._program = program = Program.of(flat, [*first, *second])
        self._first, self._second = program.arguments[: len(first)], program.arguments[len(first) :]
        self._makers = {output: step for step in program.steps for output in step.kept}
        traced = {n for n, value in program.constants.items() if isinstance(value, jax.core.Tracer)}
        fixed = set(program.constants) - traced
        ready = fixed.union(self._first)
        for step in program.steps:
            for reached in (fixed, ready):
                if reached.issuperset(step.inputs):
                    reached.update(step.kept)
        self.kept = tuple(dict.fromkeys(self._residuals(ready - fixed)))
        self._before = self._needed(self.kept, ())
        self._after = self._needed(program.results, self.kept)

    def prepare(self, known: Tree) -> tuple[Array, ...]:
        """What ``finish`` takes from the first argument."""
        values = dict(zip(self._first, jax.tree_util.tree_leaves(known), strict=True))
        return tuple(self._run(self._before, values, self.kept))

    def finish(self, prepared: Sequence[Array], later: Tree) -> Array:
        """``f(known, later)``."""
        values = dict(zip(self._second, jax.tree_util.tree_leaves(later), strict=True))
        values.update(zip(self.kept, prepared, strict=True))
        return self._run(self._after, values, self._program.results)[0]

    def _residuals(self, ready: set[int]) -> Iterable[int]:
        """Values of ``prepare`` that the rest needs; what is cheap is traced back to what it was made of, as is what depends on
        no argument at all.
        """
        waiting = list(self._program.results)
        seen: set[int] = set()
        while waiting:
            value = waiting.pop()
            if value in seen or value in self._program.constants or value in self._second:
                continue
            seen.add(value)
            step = self._makers.get(value)
            if value in ready and (step is None or step.name not in _CHEAP):
                yield value
            elif step is not None:
                waiting.extend(step.inputs)

    def _needed(self, wanted: Sequence[int], given: Sequence[int]) -> list[Step]:
        """The steps that make some values from the arguments and others that are given."""
        needed, steps = set(wanted) - set(given), []
        for step in reversed(self._program.steps):
            if needed.intersection(step.kept):
                steps.append(step)
                needed.update(n for n in step.inputs if n not in given)
        return steps[::-1]

    def _run(self, steps: Sequence[Step], values: dict[int, Array], wanted: Sequence[int]) -> list[Array]:
        values = {**self._program.constants, **values}
        for step in steps:
            found = step.run([values[n] for n in step.inputs])
            values.update((n, v) for n, v in zip(step.kept, found, strict=True) if n not in values)
        return [values[n] for n in wanted]
