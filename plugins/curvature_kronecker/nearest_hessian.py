"""The nearest Kronecker products of a Hessian's blocks, whose products with a re-weighted loss are exact."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.trees import leaves

from .nearest_method import MATRIX_KINDS, NearestKronecker
from .subspace import balanced, started
from .symmetric_vectors import packed, unpacked

Array = Any

_COLUMNS = 64
"""How many columns of a block are asked of the Hessian at a time."""


@cv.estimate.dispatch
def estimate(matrix: cv.Hessian, method: NearestKronecker, backend: cv.Backend) -> Any:
    """The statistics of a Gauss-Newton matrix, from second derivatives of the loss.

    Raises:
        UnsupportedError: naming a layer whose block has to be formed and is larger than ``max_dense``.
    """
    own = yield lambda evaluation: _starts(matrix, evaluation)
    for layer in matrix.problem.structure.layers:
        if "start" not in own[layer.name]:
            _require_small(layer, method)
    subspaces = started(matrix, method, own, method.rank + method.oversampling)
    while not all(space.finished for space in subspaces.values()):
        asked = {name: space.inputs() for name, space in subspaces.items()}
        found = yield lambda evaluation, asked=asked: _each(matrix, evaluation, asked, _images)
        for name, space in subspaces.items():
            space.take_images(found[name])
        asked = {name: space.outputs() for name, space in subspaces.items()}
        found = yield lambda evaluation, asked=asked: _each(matrix, evaluation, asked, _preimages)
        for name, space in subspaces.items():
            space.take_preimages(found[name])
    partition = matrix.problem.structure.partition
    return {
        layer.name: subspaces[layer.name].products()
        if layer.name in subspaces
        else _of_block(backend, layer, _block(matrix, partition, position), method)
        for position, layer in enumerate(matrix.problem.structure.layers)
    }


# Layers with a bias and one position: M = Σ_n w_n Hz_n ⊗ ā_n ā_nᵀ, Hz_n the second derivative in the bias ------


def _layers(matrix: cv.Hessian, evaluation: Any) -> list[Any]:
    """Inputs of the layers; the cotangents, which are not needed, are zero."""
    outputs = evaluation.outputs
    zeros = matrix.xp.zeros_like(outputs)[:, :, None]
    layers: list[Any] = evaluation.once((matrix, "inputs of the layers"), lambda: evaluation.layers(zeros))
    return layers


def _is_plain(values: Any) -> bool:
    return values.is_unshared and values.layer.bias is not None


def _starts(matrix: cv.Hessian, evaluation: Any) -> dict[str, Any]:
    layers = _layers(matrix, evaluation)
    return {values.layer.name: {"start": values.input_gram} if _is_plain(values) else {} for values in layers}


def _each(matrix: cv.Hessian, evaluation: Any, asked: dict[str, Array], product: Any) -> dict[str, Array]:
    by_name = {values.layer.name: values for values in _layers(matrix, evaluation)}
    scale = matrix.problem.scale
    return {name: product(_Bias(evaluation, by_name[name]), given) * scale for name, given in asked.items()}


class _Bias:
    """The losses of the examples of a batch as a function of one layer's bias."""

    def __init__(self, evaluation: Any, values: Any) -> None:
        problem = evaluation.problem
        self.evaluation, self.backend, self.xp = evaluation, problem.backend, problem.xp
        self.index = problem.space.index(values.layer.bias)
        self.bias = leaves(problem.params)[self.index]
        self.inputs = values.augmented_inputs[:, 0, :]
        n, weights = evaluation.batch.size, evaluation.weights
        self.shares = self.xp.full_like(self.inputs[:, 0], 1.0 / n) if weights is None else weights
        d = int(self.bias.shape[0])
        identity = self.xp.eye(d, dtype=self.bias.dtype, device=self.backend.device)
        self.directions = [identity[i, :] for i in range(d)]

    def losses(self, bias: Array) -> Array:
        """ℓ_n, (N,)."""
        problem, evaluation = self.evaluation.problem, self.evaluation
        arrays = leaves(problem.params)
        arrays[self.index] = bias
        outputs = problem.outputs(problem.space.unflatten(arrays), evaluation.batch)
        losses: Array = problem.likelihood.losses(outputs, evaluation.y)
        return losses


def _images(at: _Bias, x: Array) -> Array:
    """Σ_n w_n (ā_nᵀ X_j ā_n) Hz_n: the Hessian, in the bias, of the loss with these weights."""
    xp, results = at.xp, []
    for j in range(int(x.shape[0])):
        weights = at.shares * xp.sum((at.inputs @ x[j, ...]) * at.inputs, axis=1)

        def loss(bias: Array, weights: Array = weights) -> Array:
            losses = at.losses(bias)
            return cv.namespace(losses).sum(losses * weights)

        rows = xp.stack([at.backend.hvp(loss, at.bias, direction) for direction in at.directions])
        results.append((rows + xp.matrix_transpose(rows)) / 2)
    return xp.stack(results)


def _preimages(at: _Bias, y: Array) -> Array:
    """Σ_n w_n tr(Hz_n Y_j) ā_n ā_nᵀ, the traces by derivatives of all losses along e_i and along Y_j e_i."""
    xp, results = at.xp, []
    for j in range(int(y.shape[0])):
        traces: Any = None
        for i, direction in enumerate(at.directions):

            def along(bias: Array, direction: Array = direction) -> Array:
                return at.backend.jvp(at.losses, bias, direction)[1]

            part = at.backend.jvp(along, at.bias, y[j, i, :])[1]
            traces = part if traces is None else traces + part
        weighted = (at.shares * traces)[:, None] * at.inputs
        results.append(xp.matrix_transpose(weighted) @ at.inputs)
    return xp.stack(results)


# Other layers: their blocks are formed -------------------------------------------------------------------------


def _require_small(layer: Any, method: NearestKronecker) -> None:
    if layer.block.size > method.max_dense:
        raise cv.UnsupportedError(
            f"{method.name}: the Hessian's block of {layer.name!r} has no cheaper way than to be formed, by {layer.block.size} "
            f"Hessian products, since the layer has no bias, shared positions or another kind ({layer.kind}); that is more than "
            f"max_dense={method.max_dense}: raise max_dense, or approximate curvature.GGN(problem)"
        )


def _block(matrix: cv.Hessian, partition: Any, position: int) -> Array:
    """The dense block of a layer, some columns at a time."""
    xp, size, columns = matrix.xp, partition.blocks[position].size, []
    for start in range(0, size, _COLUMNS):
        count = min(_COLUMNS, size - start)
        parts = [
            xp.eye(block.size, count, k=-start, dtype=matrix.dtype, device=matrix.backend.device)
            if i == position
            else xp.zeros((block.size, count), dtype=matrix.dtype, device=matrix.backend.device)
            for i, block in enumerate(partition.blocks)
        ]
        columns.append(partition.gather(xp, matrix @ partition.scatter(xp, parts))[position])
    block = xp.concat(columns, axis=1)
    return (block + xp.matrix_transpose(block)) / 2


def _of_block(backend: cv.Backend, layer: Any, block: Array, method: NearestKronecker) -> dict[str, Array]:
    """The nearest products of a dense block: the singular triplets of its rearrangement, which is as large as the block."""
    if layer.kind not in MATRIX_KINDS:
        return {"block": block}
    xp, (rows, columns) = backend.xp, layer.block.shape
    square = xp.permute_dims(xp.reshape(block, (rows, columns, rows, columns)), (0, 2, 1, 3))
    embedding = layer.kind == "embedding"
    if embedding or not layer.transposed:  # (d_in, d_out)
        square, rows, columns = xp.permute_dims(square, (2, 3, 0, 1)), columns, rows
    inner = xp.reshape(square, (rows * rows, columns, columns))
    if embedding:
        inner = xp.linalg.diagonal(inner)
    else:
        inner = xp.matrix_transpose(packed(backend, (inner + xp.matrix_transpose(inner)) / 2))
    outer = xp.reshape(xp.matrix_transpose(inner), (-1, rows, rows))
    table = packed(backend, (outer + xp.matrix_transpose(outer)) / 2)
    u, values, vt = xp.linalg.svd(table, full_matrices=False)
    r = 1 if embedding else min(method.rank, int(values.shape[0]))
    x = vt[:r, :] if embedding else unpacked(backend, xp.matrix_transpose(vt[:r, :]), columns)
    return balanced(xp, values[:r], x, unpacked(backend, u[:, :r], rows))
