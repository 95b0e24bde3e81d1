"""Products and factorisations of symmetric matrices: symmetrised first, failures told apart from results."""

from __future__ import annotations

import torch
from torch import Tensor

import curvature as cv
from curvature.backend import gram_by

from .nesting import Place, place


def symmetrised(a: Tensor) -> Tensor:
    """(A + Aᵀ)/2."""
    return (a + a.mT) / 2


def cholesky(a: Tensor) -> tuple[Tensor, bool]:
    """(L, ok)."""
    factor, info = torch.linalg.cholesky_ex(symmetrised(a))
    return factor, not bool(info.any()) and bool(torch.isfinite(factor).all())


def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors.

    In float32 LAPACK's divide and conquer sometimes fails on ill-conditioned matrices: float64 does not, so it is
    tried before giving up.
    """
    matrix = symmetrised(a)
    if not bool(torch.isfinite(matrix).all()):
        raise cv.ConvergenceError(f"a {tuple(a.shape)} matrix with entries that are not finite has no eigenvalues")
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        if a.dtype is torch.float64 or a.device.type == "mps":
            raise cv.ConvergenceError(f"the eigendecomposition of a {tuple(a.shape)} matrix failed: {error}") from error
        values, vectors = (part.to(a.dtype) for part in eigh(matrix.to(torch.float64)))
    return values, vectors


def solve_triangular(a: Tensor, b: Tensor, *, lower: bool, transposed: bool) -> Tensor:
    """Solve a x = b (aᵀ x = b if ``transposed``)."""
    matrix, upper = (a.mT, lower) if transposed else (a, not lower)
    if b.ndim == 1:
        return torch.linalg.solve_triangular(matrix, b[:, None], upper=upper)[:, 0]
    return torch.linalg.solve_triangular(matrix, b, upper=upper)


def inverse_by_factor(lower: Tensor) -> Tensor:
    """(L Lᵀ)⁻¹; LAPACK's potri takes a third of the operations of two triangular solutions."""
    inverse = torch.cholesky_inverse(lower)
    return symmetrised(inverse) if lower.is_cuda else inverse  # there it is two triangular solutions


PANELS = 4
SMALLEST = 128
"""Fewer columns than that are not worth dividing."""


def gram(a: Tensor, last: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """scale [a, last]ᵀ [a, last] of a (n, d): five eighths of it computed, each panel in its place, the rest mirrored.

    30 % faster than one product, which does not notice that both factors are the same, and no matrix but the result is
    made: the allocator gives large ones back to the system, whose pages cost more than the multiplication by ``scale``.
    Panel i is A_iᵀ [A_i … A_k], A_i the i-th part of the columns. Where derivatives are taken nothing may be written, and
    one product it is.
    """
    d, extra = a.shape[1], int(last is not None)
    if d < SMALLEST or a.requires_grad or place([a]) is not Place.TOP:
        return gram_by(lambda b: b.mT @ b, torch, a, last, scale)
    result = a.new_empty(d + extra, d + extra)
    edges = [d * i // PANELS for i in range(PANELS + 1)]
    for i in range(PANELS):
        start, stop = edges[i], edges[i + 1]
        panel = result[start:stop, start:d]
        # With beta = 0 what the panel holds is not read.
        torch.addmm(panel, a[:, start:stop].mT, a[:, start:], beta=0, alpha=scale, out=panel)
        if i:
            result[start:stop, :start] = result[:start, start:stop].mT
    if last is not None:
        result[:d, d] = result[d, :d] = a.mT @ last * scale
        result[d, d] = last @ last * scale
    return result
