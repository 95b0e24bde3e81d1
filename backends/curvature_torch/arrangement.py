"""Where the examples of a use lie: any of its first two axes, or the front of its first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Arrangement:
    """How the axes of an array become (N, *positions, d).

    Attributes:
        axis: the one of the examples.
        count: N; the axis may be longer, the positions of each example then lying together.
    """

    axis: int
    count: int

    def of(self, x: Tensor, own: Sequence[int], start: int = 0) -> Tensor:
        """(…, N, *positions, d) of an array whose axes from ``start`` on are those of a result; ``own`` ones become d."""
        last = x.ndim - start - 1
        if self.axis == 0 and tuple(own) == (last,) and x.shape[start] == self.count:
            return x
        lead = [axis for axis in range(last + 1) if axis != self.axis and axis not in own]
        order = [*range(start), *(start + axis for axis in (self.axis, *lead, *own))]
        moved = x.permute(order)
        shape = list(moved.shape)
        positions = shape[start + 1 : start + 1 + len(lead)]
        size = math.prod(shape[start + 1 + len(lead) :])
        shared = shape[start] // self.count
        examples = [self.count] if shared == 1 else [self.count, shared]
        return moved.reshape(*shape[:start], *examples, *positions, size)


def candidates(shape: Sequence[int], own: Sequence[int], n: int) -> list[Arrangement]:
    """How N examples may lie in a result of that shape, most likely first; none if they cannot."""
    free = [axis for axis in range(min(2, len(shape))) if axis not in own]
    found = [Arrangement(axis, n) for axis in free if shape[axis] == n]
    if n and 0 in free and shape[0] > n and shape[0] % n == 0:
        found.append(Arrangement(0, n))
    return found[:1] if n == 1 else found


def separates(arrangement: Arrangement, reached: Tensor, example: int) -> bool:
    """Whether of all examples only that one was reached (``reached`` is True where its cotangent went)."""
    x = reached.movedim(arrangement.axis, 0).reshape(arrangement.count, -1)
    return not bool(x[:example].any()) and not bool(x[example + 1 :].any())
