"""The nearest Kronecker product of each layer's block, or the nearest sum of several."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, KroneckerEigen, KroneckerSum

from . import nearest_hessian  # noqa: F401  (it adds a method of curvature.estimate)
from .damping import damped_factors, own_block, own_statistics, relative_scale
from .nearest_method import MATRIX_KINDS, NearestKronecker
from .rearrangement import images, preimages
from .subspace import started

__all__ = ["NearestKronecker"]

Array = Any


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: NearestKronecker, backend: cv.Backend) -> Any:
    """{layer: {"A" (rank, d_in, d_in), "G" (rank, d_out, d_out)}, {"rows" (1, rows), "G" (1, d_out, d_out)} of an embedding, or
    {"block"} or {"diagonal"} of other layers}.
    """
    xp = backend.xp
    own = yield matrix.of_layers(lambda values: _start(values, method.max_dense), key=("kron-nearest", method.max_dense))
    # One product alone keeps its factors semidefinite at every step.
    width = 1 if method.rank == 1 else method.rank + method.oversampling
    subspaces = started(matrix, method, own, width)
    while not all(space.finished for space in subspaces.values()):
        asked = {name: {"X": subspaces[name].inputs()} if name in subspaces else {} for name in own}
        found = yield matrix.of_layers(lambda values, given: _image(values, xp, given), key="R(M) X", extra=asked)
        for name, space in subspaces.items():
            space.take_images(found[name]["Y"])
        asked = {name: {"Y": subspaces[name].outputs()} if name in subspaces else {} for name in own}
        found = yield matrix.of_layers(lambda values, given: _preimage(values, xp, given), key="R(M)' Y", extra=asked)
        for name, space in subspaces.items():
            space.take_preimages(found[name]["X"])
    return {name: subspaces[name].products() if name in subspaces else values for name, values in own.items()}


def _start(values: Any, max_dense: int) -> dict[str, Array]:
    if values.layer.kind not in MATRIX_KINDS:
        return own_statistics(values, max_dense)
    return {"start": values.input_frequencies if values.layer.kind == "embedding" else values.input_gram}


def _image(values: Any, xp: Any, given: dict[str, Array]) -> dict[str, Array]:
    return {"Y": images(values, xp, given["X"])} if given else {}


def _preimage(values: Any, xp: Any, given: dict[str, Array]) -> dict[str, Array]:
    return {"X": preimages(values, xp, given["Y"])} if given else {}


@cv.build.dispatch
def build(method: NearestKronecker, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """A block-diagonal operator of Kronecker products or sums of them, one for each layer."""
    backend = structure.backend
    # What is projected is damped afterwards, in its eigenbasis.
    gamma = method.gamma if method.projection == "none" else 0.0
    blocks: dict[str, cv.Operator] = {}
    for layer in structure.layers:
        values = statistics[layer.name]
        if "G" not in values:
            block = own_block(backend, values, gamma**2)
        elif "rows" in values:
            block = _embedding(backend, values, gamma)
        else:
            block = _products(backend, values, layer.transposed, gamma)
        blocks[layer.name] = block if method.projection == "none" else projected(block, method.projection, method.gamma**2)
    return BlockDiagonal(blocks, partition=structure.partition)


def _products(backend: cv.Backend, values: dict[str, Array], transposed: bool, gamma: Any) -> cv.Operator:
    terms = []
    for i in range(int(values["A"].shape[0])):
        a, g = damped_factors(backend, values["A"][i, ...], values["G"][i, ...], gamma if i == 0 else 0.0)
        order = (g, a) if transposed else (a, g)
        terms.append(Kronecker([Dense(factor, backend=backend, symmetric=True) for factor in order]))
    return terms[0] if len(terms) == 1 else KroneckerSum(terms)


def _embedding(backend: cv.Backend, values: dict[str, Array], gamma: Any) -> KroneckerEigen:
    xp, rows = backend.xp, values["rows"][0, :]
    eigenvalues, vectors = backend.eigh(values["G"][0, ...])
    pi = relative_scale(xp, xp.mean(rows), xp.mean(eigenvalues))
    rows, eigenvalues = rows + gamma * pi, eigenvalues + gamma / pi
    return KroneckerEigen([None, vectors], rows[:, None] * eigenvalues[None, :], backend=backend)


def projected(operator: Any, projection: str, damping: Any) -> cv.Operator:
    """A symmetric operator with its negative eigenvalues set to zero ("psd") or with their signs changed ("absolute"), and
    with damping added to all of them.
    """
    xp, backend = operator.xp, operator.backend

    def change(values: Array) -> Array:
        kept = xp.abs(values) if projection == "absolute" else xp.where(values > 0, values, xp.zeros_like(values))
        return kept + damping

    if isinstance(operator, Kronecker):
        operator = operator.eigenbasis()
    if isinstance(operator, KroneckerEigen):
        return KroneckerEigen(operator.bases, change(operator.values), backend=backend)
    if isinstance(operator, Diagonal):
        return Diagonal(change(operator.entries), backend=backend)
    values, vectors = operator.eigh()
    return Dense((vectors * change(values)[None, :]) @ xp.matrix_transpose(vectors), backend=backend, symmetric=True)
