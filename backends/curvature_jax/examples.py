"""Which axis of each value carries the examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from .program import Program


@dataclass(frozen=True)
class Examples:
    """The number of examples, and where they lie.

    Attributes:
        count: N.
        axes: for each value of a program the axes that carry examples.
    """

    count: int
    axes: tuple[tuple[int, ...], ...]

    def axis(self, value: int) -> int | None:
        """The one axis that does, or None if none does or several do."""
        axes = self.axes[value]
        return axes[0] if len(axes) == 1 else None


def find_examples(program: Program, make: Callable[[Sequence[Any]], Program], arguments: Sequence[Any], data: int) -> Examples:
    """The axes that carry examples, seen by what changes where there are other examples.

    Args:
        program: the program at ``arguments``.
        make: makes the program at other arguments.
        arguments: of which all from number ``data`` on have examples on their first axis.

    The same function with another number of examples has other lengths in exactly these axes. Where it refuses another
    number, or does something else then, the first axis as long as there are examples is taken; the core proves what is
    found before it relies on it.
    """
    shapes = [tuple(t.shape) for t in program.types]
    lengths = {shapes[n][0] if shapes[n] else 0 for n in program.arguments[data:]}
    count = lengths.pop() if len(lengths) == 1 else 0
    if count == 0:
        count = shapes[program.results[0]][0] if shapes[program.results[0]] else 1
        return Examples(count, tuple(_first(shape, count) for shape in shapes))
    other = 3 if count == 2 else 2
    fewer = [jax.ShapeDtypeStruct((other, *a.shape[1:]), a.dtype) for a in arguments[data:]]
    try:
        there = make([*arguments[:data], *fewer])
    except Exception:
        there = Program()
    if [(s.name, s.inputs, s.outputs) for s in there.steps] != [(s.name, s.inputs, s.outputs) for s in program.steps]:
        return Examples(count, tuple(_first(shape, count) for shape in shapes))
    axes = []
    for here, seen in zip(shapes, (tuple(t.shape) for t in there.types), strict=True):
        changed = tuple(axis for axis, (a, b) in enumerate(zip(here, seen, strict=True)) if a != b)
        # Longer in proportion: k entries for each example. Anything else is no axis of examples.
        proper = all(here[axis] % count == 0 and here[axis] // count * other == seen[axis] for axis in changed)
        axes.append(changed if proper else (*changed, -1))
    return Examples(count, tuple(axes))


def _first(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    exact = [axis for axis, length in enumerate(shape) if length == count]
    if exact:
        return (exact[0],)
    return (0,) if shape and shape[0] and shape[0] % count == 0 else ()
