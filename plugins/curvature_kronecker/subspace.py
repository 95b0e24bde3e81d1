"""Subspace iteration for the leading singular triplets of a rearrangement, and their compression."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.backend import has_values

from .symmetric_vectors import packed, packed_size, unpacked

Array = Any


class Subspace:
    """Orthonormal symmetric matrices X_j (d_in, d_in) and Y_j (d_out, d_out) that come to span the leading singular vectors of
    R(M): Y ← orth(R X), then R' Y = X Σ Wᵀ. The values σ never exceed the singular values, and ‖M - Σ_j σ_j Y_j ⊗ X_j‖² =
    ‖M‖² - Σ_j σ_j² at every iteration.

    Args:
        start: the first X, (d_in, d_in), or (d_in,) for one that is diagonal and stays so.
        d_out: size of the Y.
        method: ``rank``, ``iterations``, ``tolerance``.
        width: how many X and Y; ``rank`` or more.
        rng: draws the other X.
    """

    def __init__(self, backend: cv.Backend, start: Array, d_out: int, method: Any, width: int, rng: cv.Rng) -> None:
        xp = backend.xp
        self.backend, self.method = backend, method
        self.diagonal = start.ndim == 1
        self.d_in, self.d_out = int(start.shape[0]), d_out
        most = min(self.d_in if self.diagonal else packed_size(self.d_in), packed_size(d_out))
        width = 1 if self.diagonal else min(width, most)
        self.rank = 1 if self.diagonal else min(method.rank, most)
        first = self._packed_inputs(start[None, ...])
        if width > 1:
            others = rng.normal((int(first.shape[0]), width - 1), dtype=start.dtype)
            first = xp.linalg.qr(xp.concat([first, others], axis=1))[0]
        self._x = first if width > 1 else _unit(xp, first)
        self._y: Any = None
        self.values: Any = None
        self.finished = False
        self._iterations = 0

    def _packed_inputs(self, x: Array) -> Array:
        return self.backend.xp.matrix_transpose(x) if self.diagonal else packed(self.backend, x)

    def inputs(self) -> Array:
        """X (k, d_in, d_in), or (k, d_in) of diagonal ones."""
        return self.backend.xp.matrix_transpose(self._x) if self.diagonal else unpacked(self.backend, self._x, self.d_in)

    def outputs(self) -> Array:
        """Y (k, d_out, d_out)."""
        return unpacked(self.backend, self._y, self.d_out)

    def take_images(self, y: Array) -> None:
        """Y from R X, (k, d_out, d_out)."""
        columns = packed(self.backend, y)
        one = int(columns.shape[1]) == 1
        self._y = _unit(self.backend.xp, columns) if one else self.backend.xp.linalg.qr(columns)[0]

    def take_preimages(self, x: Array) -> None:
        """X, Y and σ from Rᵀ Y; says whether it was the last iteration."""
        xp, columns = self.backend.xp, self._packed_inputs(x)
        before = self.values
        if int(columns.shape[1]) == 1:
            self.values = xp.linalg.vector_norm(columns, axis=0)
            self._x = _unit(xp, columns)
        else:
            basis, triangle = xp.linalg.qr(columns)
            left, self.values, right = xp.linalg.svd(triangle, full_matrices=False)
            self._x, self._y = basis @ left, self._y @ xp.matrix_transpose(right)
        self._iterations += 1
        self.finished = self._iterations >= self.method.iterations or self._has_settled(before)

    def _has_settled(self, before: Array | None) -> bool:
        if before is None or not has_values(before):
            return False
        xp = self.backend.xp
        now, then = (float(xp.sum(values[: self.rank] ** 2)) for values in (self.values, before))
        least = 4 * float(xp.finfo(before.dtype).eps)  # what rounding changes
        return bool(now - then <= max(self.method.tolerance, least) * now)

    def products(self) -> dict[str, Array]:
        """The statistics of the layer: its ``rank`` leading products."""
        xp, r = self.backend.xp, self.rank
        x, y = self.inputs()[:r, ...], self.outputs()[:r, ...]
        return balanced(xp, self.values[:r], x, y)


def balanced(xp: Any, values: Array, x: Array, y: Array) -> dict[str, Array]:
    """{"A" (or "rows", of diagonal ones), "G"}: √σ X and √σ Y, with the sign that makes the trace of X positive."""
    diagonal = x.ndim == 2
    traces = xp.sum(x if diagonal else xp.linalg.diagonal(x), axis=1)
    root = xp.sqrt(values)
    signed = xp.where(traces < 0, -root, root)
    a = signed[:, None] * x if diagonal else signed[:, None, None] * x
    return {"rows" if diagonal else "A": a, "G": signed[:, None, None] * y}


def started(matrix: Any, method: Any, own: dict[str, Any], width: int) -> dict[str, Subspace]:
    """The iteration, on ``width`` products, of every layer that has a ``start`` among its statistics."""
    backend, rng, subspaces = matrix.backend, matrix.backend.rng(method.seed), {}
    for layer in matrix.problem.structure.layers:
        if "start" in own[layer.name]:
            start, (rows, columns) = own[layer.name]["start"], layer.block.shape
            d_out = columns if layer.kind == "embedding" or not layer.transposed else rows
            subspaces[layer.name] = Subspace(backend, start, d_out, method, width, rng)
    return subspaces


def _unit(xp: Any, column: Array) -> Array:
    """A column (n, 1) of norm 1; one of zeros as it is. Unlike a QR decomposition it leaves the sign."""
    norm = xp.linalg.vector_norm(column)
    return column / xp.where(norm > 0, norm, xp.ones_like(norm))


def compressed(statistics: list[dict[str, Array]], weights: list[Any]) -> dict[str, Array]:
    """The nearest sum of as many products as each part has, of the weighted sum of the parts' products: by QR decompositions of
    their factors, and the singular values of a small matrix.
    """
    first = statistics[0]
    name = "rows" if "rows" in first else "A"
    xp, rank = cv.namespace(first["G"]), int(first["G"].shape[0])
    left, right = (xp.concat([part[key] for part in statistics], axis=0) for key in ("G", name))
    scale = xp.concat([xp.ones_like(part["G"][:, 0, 0]) * weight for part, weight in zip(statistics, weights, strict=True)])
    (q_left, r_left), (q_right, r_right) = (
        xp.linalg.qr(xp.matrix_transpose(xp.reshape(f, (f.shape[0], -1)))) for f in (left, right)
    )
    u, values, vt = xp.linalg.svd((r_left * scale[None, :]) @ xp.matrix_transpose(r_right), full_matrices=False)
    y, x = (xp.matrix_transpose(q @ side) for q, side in ((q_left, u), (q_right, xp.matrix_transpose(vt))))
    y, x = (xp.reshape(side[:rank, :], (rank, *f.shape[1:])) for side, f in ((y, left), (x, right)))
    if name == "A":
        x = (x + xp.matrix_transpose(x)) / 2
    return balanced(xp, values[:rank], x, (y + xp.matrix_transpose(y)) / 2)
