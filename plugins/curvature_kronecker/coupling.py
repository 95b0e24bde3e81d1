"""What couples a layer to the next one: a Kronecker product between their blocks, which need not be square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any


@dataclass(frozen=True, eq=False)
class Coupling:
    """Ψ = left ⊗ right from the block ``lower`` to the block ``upper``, both laid out as matrices: V ↦ left V rightᵀ.

    Attributes:
        swapped: V is transposed first: one of the layers stores its weight (d_out, d_in) and the other (d_in, d_out).
    """

    upper: str
    lower: str
    left: Array
    right: Array
    swapped: bool = False

    def up(self, xp: Any, v: Array) -> Array:
        """Ψ V for the columns of V, (size of lower, K) ↦ (size of upper, K)."""
        return self._apply(xp, self.left, self.right, v, before=self.swapped, after=False)

    def down(self, xp: Any, v: Array) -> Array:
        """Ψᵀ V."""
        left, right = (xp.matrix_transpose(side) for side in (self.left, self.right))
        return self._apply(xp, left, right, v, before=False, after=self.swapped)

    def _apply(self, xp: Any, left: Array, right: Array, v: Array, *, before: bool, after: bool) -> Array:
        rows, columns, k = int(left.shape[1]), int(right.shape[1]), int(v.shape[1])
        stack = xp.permute_dims(xp.reshape(v, (columns, rows, k) if before else (rows, columns, k)), (2, 0, 1))
        stack = left @ (xp.matrix_transpose(stack) if before else stack) @ xp.matrix_transpose(right)
        stack = xp.matrix_transpose(stack) if after else stack
        return xp.reshape(xp.permute_dims(stack, (1, 2, 0)), (-1, k))

    def carried(self, sides: tuple[Array, Array]) -> tuple[Array, Array]:
        """The factors of Ψ (X ⊗ Y), up to the order of its columns."""
        one, other = reversed(sides) if self.swapped else sides
        return self.left @ one, self.right @ other
