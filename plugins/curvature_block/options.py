"""The options of the block-diagonal approximation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv

from .costs import block_diagonal_cost
from .partitions import normalised
from .plan import require_same


@dataclass(frozen=True)
class BlockDiagonalMethod(cv.Approximation):
    """Diagonal blocks, each of them exact: the orthogonal projection of the matrix, ‖F - B‖² = ‖F‖² - ‖B‖².

    Attributes:
        partition: what the blocks are:

            - "layer": the parameters of a layer together, [W | b];
            - "parameter": one block for each parameter array;
            - "output-unit": one block for each output of a layer: its row of [W | b], its column of an embedding, its scale
              with its shift; an entry of a bias that stands alone. Parameters without outputs of their own (``mixed`` and
              ``general`` layers) are one block each;
            - {block name: [parameters]} or [[parameters], …]: names or patterns such as "encoder.*", each parameter once;
            - a whole number for each entry: P of them or a params tree of integers; equal numbers are one block. Blocks of
              one size are kept together in a ``StackedBlocks``;
            - "auto": layers that the matrix couples are merged, as far as the memory goes: see ``coupling``;
            - a ``Plan``, such as the one that a ``CouplingReport`` holds.
        max_block: refuses larger blocks, rather than filling the memory.
        memory: bytes that all blocks together may take; None is 1 GiB for "auto" and no limit otherwise.
        coupling: τ of "auto": groups of layers are merged, the most coupled pair first, as long as
            ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖) > τ. Where the memory does not even hold the layers, those that hold least of the matrix
            for their size get smaller blocks: by parameter, by output unit, or their diagonal.
        probes: random vectors with which "auto" measures each of its blocks.
        seed: of the probes.
        max_products: refuses more products than that with a matrix that is known by its products alone, such as a Hessian:
            each of the P columns takes one.

    The statistics of "auto" hold the partition that it chose, and those of different partitions do not merge: for an average
    over several matrices pass on the partition of the first, ``partition=operator.report.plan``.
    """

    name: ClassVar[str] = "block-diagonal"
    partition: Any = "layer"
    max_block: int = 10_000
    memory: int | None = None
    coupling: float = 0.1
    probes: int = 10
    seed: int = 0
    max_products: int = 20_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "partition", normalised(self.partition))
        if self.memory is not None and not self.memory > 0:
            raise cv.DataError(f"block-diagonal: memory is a number of bytes > 0, got {self.memory}")
        if not self.max_block > 0:
            raise cv.DataError(f"block-diagonal: max_block is a number of rows > 0, got {self.max_block}")
        if not self.coupling >= 0:
            raise cv.DataError(f"block-diagonal: coupling is a threshold ≥ 0, got {self.coupling}")
        if self.probes < 2:
            raise cv.DataError(f"block-diagonal: at least 2 probes are needed for an error bar, got {self.probes}")

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return block_diagonal_cost(self, layout)

    def merge(self, statistics: list[Any], weights: list[Any]) -> Any:
        """The weighted average of the blocks. What "auto" measured and chose is that of the first.

        Raises:
            DataError: for statistics of different partitions.
        """
        require_same([values.get("plan") for values in statistics])
        blocks = super().merge([values["blocks"] for values in statistics], weights)
        return {**statistics[0], "blocks": blocks}
