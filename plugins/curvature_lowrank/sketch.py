"""The randomised Nyström approximation from a sketch Y = F Ω, which is linear in F."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.operators import LowRank

Array = Any


def directions(backend: cv.Backend, seed: int, n: int, width: int, dtype: Any) -> Array:
    """Ω (n, width): random orthonormal columns; for one seed the first ones are the same whatever the width.

    So a sketch is widened by products with the new columns alone. The signs of a QR decomposition are a library's own:
    with a positive diagonal of R it is unique.
    """
    xp = backend.xp
    draws = backend.rng(seed).normal((width, n), dtype=dtype)
    if 4 * width <= n:
        # Tall Gaussian matrices have condition numbers below 3: R is the Cholesky factor of their Gram matrix.
        lower, ok = backend.cholesky(draws @ xp.matrix_transpose(draws))
        if backend.is_abstract(lower) or ok:
            return xp.matrix_transpose(backend.solve_triangular(lower, draws, lower=True))
    q, r = xp.linalg.qr(xp.matrix_transpose(draws), mode="reduced")
    diagonal = xp.linalg.diagonal(r)
    return q * xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))


def core_of(backend: cv.Backend, omega: Array, sketch: Array) -> Array:
    """C = ΩᵀFΩ, symmetric."""
    core = backend.xp.matrix_transpose(omega) @ sketch
    return (core + backend.xp.matrix_transpose(core)) / 2


def nystrom(backend: cv.Backend, sketch: Array, core: Array) -> LowRank:
    """Y C⁺ Yᵀ of Y = F Ω and C = ΩᵀY: positive semidefinite, and no larger than F.

    It is F itself where the rank of F is no more than the columns of Ω.

    Source: Tropp, Yurtsever, Udell and Cevher (2017), with a pseudoinverse in the place of a shift.

    Raises:
        NotPositiveDefiniteError: if F has a negative eigenvalue, as far as that shows in ΩᵀFΩ.
    """
    xp = backend.xp
    values, vectors = backend.eigh(core)
    largest = xp.max(xp.abs(values))
    eps = float(xp.finfo(sketch.dtype).eps)
    if not backend.is_abstract(values) and float(xp.min(values)) < -(eps**0.5) * float(largest):
        raise cv.NotPositiveDefiniteError(
            f"a Nyström approximation needs a positive semidefinite matrix, and this one has a negative eigenvalue of "
            f"{float(xp.min(values)):.3g} or less; take solver='lanczos', which keeps the eigenvalues largest in magnitude"
        )
    usable = values > eps * (10 + int(sketch.shape[1])) * largest
    roots = xp.where(usable, 1.0 / xp.sqrt(xp.where(usable, values, xp.ones_like(values))), xp.zeros_like(values))
    return LowRank.of_factor(sketch @ (vectors * roots[None, :]), backend=backend)
