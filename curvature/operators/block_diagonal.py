"""A block-diagonal matrix whose blocks may have any structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import MixedBackendError, ShapeError
from .base import Operator
from .checks import check_rank
from .damping import check_damping
from .dense import Dense
from .entry_partition import EntryPartition
from .partition import Block, Partition
from .spectral import largest_in_magnitude

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class BlockDiagonal(Operator):
    """Π · diag(A_1, …, A_B) · Πᵀ, with Π the permutation from the blocks' layout to the flat order.

    Args:
        blocks: the operators A_i, all square, by block name or in order.
        partition: the parameters of each block, or its entries; by default the blocks follow one another.

    Attributes:
        report: of the measurement by which the blocks were chosen, if they were; it is not saved.

    Raises:
        ShapeError: if a block does not fit its place.
        MixedBackendError: if blocks live on different backends.
    """

    structure: ClassVar[str] = "block-diagonal"
    report: Any = None

    def __init__(
        self, blocks: Mapping[str, Operator] | Sequence[Operator], *, partition: Partition | EntryPartition | None = None
    ) -> None:
        named = dict(blocks) if isinstance(blocks, Mapping) else {str(i): block for i, block in enumerate(blocks)}
        if not named:
            raise ShapeError("a block-diagonal operator needs at least one block")
        for name, block in named.items():
            if block.shape[0] != block.shape[1]:
                raise ShapeError(f"block {name!r} is not square: {block.shape}")
        if partition is None:
            partition = Partition.contiguous([block.shape[0] for block in named.values()], list(named))
            self.space = None
        else:
            self.space = partition.space
            expected = [block.name for block in partition.blocks]
            if set(expected) != set(named):
                raise ShapeError(f"the partition has the blocks {expected}, the operators are {sorted(named)}")
            named = {name: named[name] for name in expected}
        for place, (name, block) in zip(partition.blocks, named.items(), strict=True):
            if block.shape[0] != place.size:
                raise ShapeError(f"block {name!r} is {block.shape[0]} × {block.shape[0]}, its place has size {place.size}")
        self.blocks = named
        self.partition = partition
        self.backend = next(iter(named.values())).backend
        if any(block.backend != self.backend for block in named.values()):
            raise MixedBackendError("the blocks live on different backends; move them with .to(backend)")
        self.symmetric = all(block.symmetric for block in named.values())

    @property
    def shape(self) -> tuple[int, int]:
        n = self.partition.space.size
        return (n, n)

    @property
    def dtype(self) -> Any:
        return next(iter(self.blocks.values())).dtype

    def map_blocks(self, function: Callable[[Operator], Operator]) -> BlockDiagonal:
        """The block-diagonal operator of ``function(block)``."""
        mapped = {name: function(block) for name, block in self.blocks.items()}
        return BlockDiagonal(mapped, partition=None if self.space is None else self.partition)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> BlockDiagonal:
        return self.map_blocks(lambda block: block.map_arrays(function, backend))

    def _each(self, v: Array, kernel: Callable[[Operator, Array], Array]) -> Array:
        parts = self.partition.gather(self.xp, v)
        results = [kernel(block, part) for block, part in zip(self.blocks.values(), parts, strict=True)]
        return self.partition.scatter(self.xp, results)

    def _matmat(self, v: Array) -> Array:
        return self._each(v, lambda block, part: block._matmat(part))

    def _transpose(self) -> BlockDiagonal:
        return self.map_blocks(lambda block: block.T)

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._each(v, lambda block, part: block._solve(part, damping))

    def inverse(self, damping: Any = 0.0) -> BlockDiagonal:
        damping = check_damping(damping)
        return self.map_blocks(lambda block: block.inverse(damping))

    def power(self, p: float, damping: Any = 0.0) -> BlockDiagonal:
        return self.map_blocks(lambda block: block.power(p, damping))

    def logdet(self, damping: Any = 0.0) -> Array:
        return sum(block.logdet(damping) for block in self.blocks.values())

    def trace(self) -> Array:
        return sum(block.trace() for block in self.blocks.values())

    def diagonal(self) -> Array:
        columns = [self.xp.expand_dims(block.diagonal(), axis=1) for block in self.blocks.values()]
        return self.partition.scatter(self.xp, columns)[:, 0]

    def norm(self, order: str | int = "fro") -> Array:
        norms = self.xp.stack([block.norm(order) for block in self.blocks.values()])
        return self.xp.sqrt(self.xp.sum(norms**2)) if order == "fro" else self.xp.max(norms)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        self._require_symmetric("eigh")
        check_rank(k, self.shape[0])
        xp = self.xp
        pairs = [block.eigh(None if k is None else min(k, block.shape[0])) for block in self.blocks.values()]
        values = xp.concat([value for value, _ in pairs])
        columns = []
        for position, (_, vectors) in enumerate(pairs):
            parts = [
                vectors if i == position else xp.zeros((place.size, vectors.shape[1]), dtype=self.dtype, device=self._device)
                for i, place in enumerate(self.partition.blocks)
            ]
            columns.append(self.partition.scatter(xp, parts))
        order = xp.argsort(values) if k is None else largest_in_magnitude(xp, values, k)
        return xp.take(values, order), xp.take(xp.concat(columns, axis=1), order, axis=1)

    def block(self, name: str) -> Operator:
        """The block called ``name``, or the diagonal block of the parameter called so: a part of its block, then dense."""
        if name in self.blocks:
            return self.blocks[name]
        space = self.partition.space
        if isinstance(self.partition, EntryPartition):
            return self._rows_of(space.index(name))
        for place, block in zip(self.partition.blocks, self.blocks.values(), strict=True):
            if name in (space.names[leaf] for leaf in place.leaves):
                return self._part(block, place, space.index(name))
        known = ", ".join(dict.fromkeys([*self.blocks, *space.names]))
        raise ShapeError(f"no block or parameter is called {name!r}; there are: {known}")

    def _part(self, block: Operator, place: Block, leaf: int) -> Dense:
        xp, sizes = self.xp, self.partition.space.sizes
        # Which rows of the block belong to the leaf: mark the leaf's entries and see where they go.
        marks: list[Any] = [None] * len(sizes)
        for other in place.leaves:
            counted = xp.arange(sizes[other], device=self._device)
            marks[other] = xp.expand_dims(counted if other == leaf else -1 - 0 * counted, axis=1)
        position = place.gather(xp, marks)[:, 0]
        rows = xp.argsort(position)[place.size - sizes[leaf] :]
        dense = xp.take(xp.take(block.to_dense(), rows, axis=0), rows, axis=1)
        return Dense(dense, backend=self.backend, symmetric=block.symmetric)

    def _rows_of(self, leaf: int) -> Dense:
        xp, space = self.xp, self.partition.space
        start, stop = space.offsets[leaf], space.offsets[leaf + 1]
        rows = xp.arange(space.size, device=self._device)
        columns = xp.astype(rows[:, None] == rows[None, start:stop], self.dtype)
        return Dense(self._matmat(columns)[start:stop, :], backend=self.backend, symmetric=self.symmetric)

    def scaled(self, factor: Any) -> BlockDiagonal:
        return self.map_blocks(lambda block: block.scaled(factor))
