"""The rows of J̃ held as an array: made, stacked, compressed and centred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import curvature as cv
from curvature.operators import Block

Array = Any


class Collected:
    """The rows of all batches, which a sweep over the data hands over one by one.

    Args:
        matrix: F = J̃ᵀ J̃.
        numbers: about how many numbers the rows that are made at a time may hold.
        centred: whether to keep the rows' weights as well.
    """

    def __init__(self, matrix: cv.GaussNewtonMatrix, numbers: int, *, centred: bool) -> None:
        self.matrix = matrix
        self.numbers = numbers
        self.centred = centred
        self._parts: list[dict[str, Array]] = []
        self._held = 0

    def __call__(self, evaluation: Any) -> dict[str, Array]:
        """Take the rows of one batch. What a sweep averages is nothing: rows are put one below the other."""
        matrix, batch = self.matrix, evaluation.batch
        values = matrix.layer_values(evaluation)
        size, columns = matrix.shape[0], values[0].columns
        step = max(1, self.numbers // max(1, size * columns))
        for start in range(0, batch.size, step):
            examples = slice(start, min(start + step, batch.size))
            part = {"rows": example_rows(matrix, values, examples)}
            if self.centred:
                part["weights"] = mean_columns(evaluation, columns, examples)
            if matrix.problem.data.single is None:
                share = matrix.problem.weight(batch) / matrix.problem.total_weight
                part = {name: array * share**0.5 for name, array in part.items()}
            self._parts.append(part)
            self._held += int(part["rows"].shape[0])
            if self._held > 2 * (size + columns):
                self._parts = [self.statistics()]
                self._held = int(self._parts[0]["rows"].shape[0])
        return {}

    def statistics(self) -> dict[str, Array]:
        """All of them, compressed."""
        return compressed(self.matrix.backend, stacked(self.matrix.xp, self._parts))


def example_rows(matrix: cv.GaussNewtonMatrix, values: Sequence[Any], examples: slice) -> Array:
    """√(w_n · scale) S_nᵀ J_n of the examples in the flat order of the parameters, (R·n, P), from the values of all layers.

    Column by column of S, which is how backends give them: their order means nothing here, and a transposition costs time.
    """
    xp, leaves = matrix.xp, dict[int, Array]()
    for block, value in zip(matrix.problem.structure.partition.blocks, values, strict=True):
        gradients = value.gradients(examples)
        n, size, columns = (int(d) for d in gradients.shape)
        rows = xp.reshape(xp.permute_dims(gradients, (2, 0, 1)), (columns * n, size))
        leaves.update(zip(block.leaves, _by_leaf(xp, block, rows), strict=True))
    ordered = [leaves[index] for index in range(len(leaves))]
    return ordered[0] if len(ordered) == 1 else xp.concat(ordered, axis=1)


def _by_leaf(xp: Any, block: Block, rows: Array) -> list[Array]:
    """Rows (n, size of the block) divided into its parameters, each (n, size). Row by row: a table with one column for each
    example, which ``block.scatter`` takes, would have to be transposed.
    """
    if len(block.leaves) == 1:
        return [rows]
    joined, pieces, start = xp.reshape(rows, (rows.shape[0], *block.shape)), [], 0
    for shape in block.shapes:
        stop = start + shape[block.axis]
        piece = joined[:, start:stop, :] if block.axis == 0 else joined[:, :, start:stop]
        pieces.append(xp.reshape(piece, (rows.shape[0], shape[0] * shape[1])))
        start = stop
    return pieces


def mean_columns(evaluation: Any, columns: int, examples: slice) -> Array:
    """W (R·n, R) with √w_n in the rows of example n: Wᵀ J̃ is the weighted mean of the rows, column by column of S."""
    problem = evaluation.problem
    xp, device = problem.xp, problem.backend.device
    if evaluation.weights is None:
        ones = xp.ones((examples.stop - examples.start,), dtype=evaluation.outputs.dtype, device=device)
        roots = ones * evaluation.batch.size**-0.5
    else:
        roots = xp.sqrt(evaluation.weights[examples])
    identity = xp.eye(columns, dtype=roots.dtype, device=device)
    return xp.reshape(roots[None, :, None] * identity[:, None, :], (-1, columns))


def stacked(xp: Any, parts: Sequence[dict[str, Array]], roots: Sequence[Any] | None = None) -> dict[str, Array]:
    """All parts one below the other, each times its root: the sum of their J̃ᵀ J̃, each times root²."""
    scaled = parts if roots is None else [{k: a * root for k, a in part.items()} for part, root in zip(parts, roots, strict=True)]
    if len(scaled) == 1:
        return dict(scaled[0])
    return {name: xp.concat([part[name] for part in scaled], axis=0) for name in scaled[0]}


def compressed(backend: cv.Backend, part: dict[str, Array]) -> dict[str, Array]:
    """At most as many rows as columns, with all products between columns as they were: the R of a QR decomposition."""
    arrays = list(part.values())
    joined = arrays[0] if len(arrays) == 1 else backend.xp.concat(arrays, axis=1)
    if joined.shape[0] <= joined.shape[1]:
        return part
    triangle, start, found = backend.triangle(joined), 0, {}
    for name, array in part.items():
        stop = start + int(array.shape[1])
        found[name], start = triangle[:, start:stop], stop
    return found


def centred_rows(xp: Any, part: dict[str, Array]) -> Array:
    """J̃ - W Wᵀ J̃, or J̃ where there is no W: F minus the products of the rows' weighted means."""
    rows = part["rows"]
    if "weights" not in part:
        return rows
    weights = part["weights"]
    return rows - weights @ (xp.matrix_transpose(weights) @ rows)
