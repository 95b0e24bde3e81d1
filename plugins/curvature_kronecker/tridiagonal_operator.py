"""A matrix whose inverse is block-tridiagonal, and that inverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import curvature as cv
from curvature.backend import has_values
from curvature.operators import BlockDiagonal, Dense, Kronecker, KroneckerSum, Operator, is_zero

from .coupling import Coupling

Array = Any


class BlockTridiagonalInverse(Operator):
    """F = Ξ⁻¹ D Ξ⁻ᵀ, Ξ the identity with blocks -Ψ_i,i+1 beside its diagonal and D = diag(Σ_i|i+1), Σ_i|i+1 = F_ii -
    Ψ_i,i+1 F_i+1,i+1 Ψ_i,i+1ᵀ: given by its diagonal blocks F_ii and the Ψ. F⁻¹ = Ξᵀ D⁻¹ Ξ is block-tridiagonal.

    Products, trace, diagonal, Frobenius norm, and, without damping, ``solve``, ``inverse`` and ``logdet`` cost a few products
    with factors, block by block. All else is as for any operator.

    Args:
        blocks: the F_ii; those of coupled layers are Kronecker products of two factors.
        couplings: the Ψ, an upper block before the next one down.

    Raises:
        ShapeError: naming a coupled block that is no Kronecker product of two factors.
    """

    structure: ClassVar[str] = "block-tridiagonal-inverse"

    def __init__(self, blocks: BlockDiagonal, couplings: Sequence[Coupling]) -> None:
        self.blocks = blocks
        self.couplings = tuple(couplings)
        self.backend, self.space, self.symmetric = blocks.backend, blocks.space, True
        self._places = {name: i for i, name in enumerate(blocks.blocks)}
        self._products: dict[str, Kronecker] = {}
        for name in (name for c in self.couplings for name in (c.upper, c.lower)):
            block = blocks.blocks[name]
            if not isinstance(block, Kronecker) or len(block.factors) != 2:
                raise cv.ShapeError(f"block {name!r} is coupled and must be a Kronecker product of two factors, not {block!r}")
            self._products[name] = block

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    @property
    def dtype(self) -> Any:
        return self.blocks.dtype

    def map_arrays(self, function: Callable[[Array], Array], backend: cv.Backend) -> BlockTridiagonalInverse:
        moved = [replace(c, left=function(c.left), right=function(c.right)) for c in self.couplings]
        return BlockTridiagonalInverse(self.blocks.map_arrays(function, backend), moved)

    @cached_property
    def conditionals(self) -> BlockDiagonal:
        """D: the covariance of each layer's gradient given that of the next one."""
        blocks: dict[str, Operator] = dict(self.blocks.blocks)
        for c in self.couplings:
            one, other = (factor.array for factor in self._products[c.lower].factors)
            left, right = (other, one) if c.swapped else (one, other)
            sides = (-_congruent(self.xp, c.left, left), _congruent(self.xp, c.right, right))
            explained = [Dense(side, backend=self.backend, symmetric=True) for side in sides]
            blocks[c.upper] = KroneckerSum([self._products[c.upper], explained])
        return BlockDiagonal(blocks, partition=self.blocks.partition)

    @cached_property
    def precisions(self) -> BlockDiagonal:
        """D⁻¹.

        Raises:
            SingularMatrixError: naming the layer and the damping.
        """
        inverses = {}
        for name, block in self.conditionals.blocks.items():
            try:
                if isinstance(block, KroneckerSum):
                    block = self._definite(block)
                inverses[name] = block.inverse()
            except cv.SingularMatrixError as error:
                raise cv.SingularMatrixError(
                    f"the block of {name!r}, given the next one of its chain, is singular to working precision ({error}); solve "
                    f"with a damping, or damp the factors: gamma=... of 'kfac-tridiagonal'"
                ) from error
        return BlockDiagonal(inverses, partition=self.blocks.partition)

    def _definite(self, block: KroneckerSum) -> Operator:
        xp, diagonalised = self.xp, block.simultaneous()
        if diagonalised is None:
            raise cv.SingularMatrixError("a factor of its Kronecker product is singular")
        values = diagonalised.values
        if has_values(values):
            values = values * (1.0 if float(xp.sum(values)) > 0 else -1.0)
            lowest, largest = float(xp.min(values)), float(xp.max(values))
            if lowest <= float(xp.finfo(values.dtype).eps) * self.shape[0] * largest:
                raise cv.SingularMatrixError(f"its relative eigenvalues reach from {lowest:.3g} to {largest:.3g}")
        return diagonalised

    # Recursions along the chains ------------------------------------------------------------------------

    def _along(self, parts: list[Array], *, up: bool, sign: float, from_new: bool) -> list[Array]:
        """Each part plus ± Ψ (``up``) or ± Ψᵀ times its neighbour, as that was or as it has become (``from_new``)."""
        new = list(parts)
        for c in reversed(self.couplings) if up else self.couplings:
            target, source = (c.upper, c.lower) if up else (c.lower, c.upper)
            given = (new if from_new else parts)[self._places[source]]
            image = c.up(self.xp, given) if up else c.down(self.xp, given)
            new[self._places[target]] = new[self._places[target]] + sign * image
        return new

    def _on_parts(self, v: Array, function: Callable[[list[Array]], list[Array]]) -> Array:
        partition = self.blocks.partition
        return partition.scatter(self.xp, function(partition.gather(self.xp, v)))

    def _matmat(self, v: Array) -> Array:
        def product(parts: list[Array]) -> list[Array]:
            parts = self._along(parts, up=False, sign=1.0, from_new=True)  # Ξ⁻ᵀ
            parts = [block._matmat(part) for block, part in zip(self.conditionals.blocks.values(), parts, strict=True)]
            return self._along(parts, up=True, sign=1.0, from_new=True)  # Ξ⁻¹

        return self._on_parts(v, product)

    def _inverse_matmat(self, v: Array) -> Array:
        """Ξᵀ D⁻¹ Ξ v."""

        def product(parts: list[Array]) -> list[Array]:
            parts = self._along(parts, up=True, sign=-1.0, from_new=False)
            parts = [block._matmat(part) for block, part in zip(self.precisions.blocks.values(), parts, strict=True)]
            return self._along(parts, up=False, sign=-1.0, from_new=False)

        return self._on_parts(v, product)

    # Operations ---------------------------------------------------------------------------------------

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._inverse_matmat(v) if is_zero(damping) else super()._solve(v, damping)

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(F + damping·I)⁻¹: block-tridiagonal without damping."""
        if not is_zero(damping):
            return super().inverse(damping)
        self.precisions  # noqa: B018  (what is singular is said here)
        return BlockTridiagonal(self)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        return self.inverse(damping) if p == -1 else super().power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        """log det(F + damping·I); without damping that of D, since det Ξ = 1."""
        return -self.precisions.logdet() if is_zero(damping) else super().logdet(damping)

    def trace(self) -> Array:
        return self.blocks.trace()

    def diagonal(self) -> Array:
        return self.blocks.diagonal()

    def block(self, name: str) -> Operator:
        return self.blocks.block(name)

    def norm(self, order: str | int = "fro") -> Array:
        if order != "fro":
            return super().norm(order)
        # Off the diagonal F_ij = Ψ_i,i+1 … Ψ_j-1,j F_jj is a Kronecker product as well.
        xp, total = self.xp, self.blocks.norm() ** 2
        above = {c.lower: c for c in self.couplings}
        for c in self.couplings:
            one, other = (factor.array for factor in self._products[c.lower].factors)
            sides, at = (one, other), c.lower
            while at in above:
                sides, at = above[at].carried(sides), above[at].upper
                total = total + 2.0 * xp.sum(sides[0] ** 2) * xp.sum(sides[1] ** 2)
        return xp.sqrt(total)

    def scaled(self, factor: Any) -> BlockTridiagonalInverse:
        return BlockTridiagonalInverse(self.blocks.scaled(factor), self.couplings)


class BlockTridiagonal(Operator):
    """factor · F⁻¹ = factor · Ξᵀ D⁻¹ Ξ, the inverse of a ``BlockTridiagonalInverse`` F; its own inverse is F / factor."""

    structure: ClassVar[str] = "block-tridiagonal"

    def __init__(self, of: BlockTridiagonalInverse, factor: Any = 1.0) -> None:
        self.of, self.factor = of, factor
        self.backend, self.space, self.symmetric = of.backend, of.space, True

    @property
    def shape(self) -> tuple[int, int]:
        return self.of.shape

    @property
    def dtype(self) -> Any:
        return self.of.dtype

    def map_arrays(self, function: Callable[[Array], Array], backend: cv.Backend) -> BlockTridiagonal:
        factor = function(self.factor) if hasattr(self.factor, "shape") else self.factor
        return BlockTridiagonal(self.of.map_arrays(function, backend), factor)

    def _matmat(self, v: Array) -> Array:
        return self.of._inverse_matmat(v) * self.factor

    def _solve(self, v: Array, damping: Any) -> Array:
        return self.of._matmat(v) * (1.0 / self.factor) if is_zero(damping) else super()._solve(v, damping)

    def inverse(self, damping: Any = 0.0) -> Operator:
        return self.of.scaled(1.0 / self.factor) if is_zero(damping) else super().inverse(damping)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        return self.inverse(damping) if p == -1 else super().power(p, damping)

    def scaled(self, factor: Any) -> BlockTridiagonal:
        return BlockTridiagonal(self.of, self.factor * factor)


def _congruent(xp: Any, side: Array, matrix: Array) -> Array:
    """S M Sᵀ, symmetric to the last bit."""
    product = side @ matrix @ xp.matrix_transpose(side)
    return (product + xp.matrix_transpose(product)) / 2
