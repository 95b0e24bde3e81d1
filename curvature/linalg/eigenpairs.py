"""Some eigenvalues of a symmetric map that is known by its products, with their eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import ConvergenceError
from .adaptive import allowance, check_tolerance, keep
from .exact import dense
from .lobpcg import lobpcg
from .map import Counted, LinearMap, require_symmetric
from .orthonormal import host
from .progress import Meter, Progress
from .thick_restart import thick_restart
from .wanted import ORDERS, Found, wanted

Array = Any

DENSE = 2000
"""Largest n for which the matrix is built where an iteration has taken n products in vain."""

PRODUCTS = 5000
"""How many products an iteration may take where nobody says: this, or 200 for each pair."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors.

    Attributes:
        values: (k,), the wanted ones first.
        vectors: (n, k), orthonormal.
        residuals: (k,), the norms of A v - λ v, as computed from products with the vectors: an eigenvalue lies within
            that distance of λ.
        products: products of the operator (columns) that it took.
        method: "lanczos", "lobpcg" or "exact".
        converged: whether all residuals are at most the tolerance · |largest eigenvalue met|.
    """

    values: Array
    vectors: Array
    residuals: Array
    products: int
    method: str
    converged: bool


def eigenpairs(
    A: LinearMap,
    k: int,
    *,
    which: Literal["magnitude", "largest", "smallest"] = "magnitude",
    method: Literal["lanczos", "lobpcg"] = "lanczos",
    tolerance: float | None = None,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Eigenpairs:
    """k eigenpairs of a symmetric map (n, n): those largest in magnitude, largest or smallest (algebraically), in order.

    ``lanczos`` is the thick-restart block Lanczos method (Wu and Simon 2000); it starts again from random vectors
    orthogonal to what it has found until nothing new comes, so that multiple eigenvalues are found as often as they are.
    ``lobpcg`` is the locally optimal block method (Knyazev 2001), of less memory and for the ends of the spectrum only.
    For n ≤ 4 k + 40, or n ≤ 2000 where the iteration takes more than n products, the matrix is built ("exact").

    Args:
        tolerance: on the residuals, relative to the largest eigenvalue met in magnitude; by default the root of the
            machine epsilon (1.5e-8 in float64, 3.5e-4 in float32). Eigenvalues are off by the square of it over the gap.
        max_products: by default 200 k, and no fewer than 5000.
        seed: of the random start; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ValueError: if k does not lie in 1 … n, or another argument cannot be.
        ShapeError, NotSymmetricError: if the map is not square, or not symmetric.
        ConvergenceError: if ``max_products`` did not do; its attribute ``partial`` has the pairs as they are.
        DataError: if a product is not finite.
        KeyboardInterrupt: with the pairs so far as its attribute ``partial``, where there are k.
    """
    n = require_symmetric(A, "eigenpairs")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n:
        raise ValueError(f"k must lie in 1 … {n}, got {k}")
    if which not in ORDERS:
        raise ValueError(f"which is one of {', '.join(ORDERS)}; got {which!r}")
    if method not in ("lanczos", "lobpcg"):
        raise ValueError(f"the methods of eigenpairs are lanczos and lobpcg; got {method!r}")
    if method == "lobpcg" and which == "magnitude":
        raise ValueError("lobpcg finds one end of the spectrum: ask for which='largest' or 'smallest', or for 'lanczos'")
    if tolerance is None:
        tolerance = float(A.backend.xp.finfo(A.dtype).eps) ** 0.5
    check_tolerance(tolerance)
    budget = allowance(max_products, n, max(PRODUCTS, 200 * k))
    with Meter(progress) as meter:
        counted = Counted(A, meter, f"{k} eigenpairs")
        return found(counted, k, which, method, tolerance, budget, seed, multiple=True)


def found(a: Counted, k: int, which: str, method: str, tolerance: float, budget: int, seed: int, *, multiple: bool) -> Eigenpairs:
    """``eigenpairs`` of arguments that were looked at; without ``multiple`` copies of an eigenvalue may be missed."""
    n = a.shape[0]
    if n <= 4 * k + 40 and n <= budget:
        return _exact(a, k, which)
    if n <= 4 * k + 40 and method == "lobpcg":
        raise ValueError(f"lobpcg for {k} of {n} eigenpairs builds the matrix: {n} products, max_products allows {budget}")
    a.goal = n if n <= DENSE else budget
    rng = a.backend.rng(seed)
    # Beyond n products the matrix itself costs no more; twice that leaves room to build it.
    limit = n if n <= DENSE and 2 * n <= budget else budget - k
    if method == "lobpcg":
        iteration = lobpcg(a, k, which, tolerance, limit, rng)
    else:
        iteration = thick_restart(a, k, which, tolerance, limit, rng, multiple=multiple)
    state: Found | None = None
    try:
        for latest in iteration:
            state = latest
    except KeyboardInterrupt as interrupt:
        keep(interrupt, None if state is None else _as_is(a, state, method))
        raise
    if state is not None and state.done:
        return _checked(a, state, which, method, tolerance)
    if limit == n:
        return _exact(a, k, which)
    error = ConvergenceError(
        f"{k} eigenpairs ({which}) did not converge in {a.products} products"
        + ("" if state is None else f": the largest residual is {np.max(state.residuals) * a.unit:.2g}")
        + "; allow more with max_products, ask for a larger tolerance, or take the attribute 'partial' of this error"
    )
    error.partial = None if state is None else _as_is(a, state, method)  # type: ignore[attr-defined]
    raise error


def _exact(a: Counted, k: int, which: str) -> Eigenpairs:
    xp, backend = a.backend.xp, a.backend
    matrix = dense(a)
    values, vectors = backend.eigh(matrix)
    order = backend.asarray(wanted(host(backend, values), which)[:k].astype(np.int32))
    values, vectors = xp.take(values, order), xp.take(vectors, order, axis=1)
    residuals = _norms(xp, matrix @ vectors - vectors * values[None, :])
    return Eigenpairs(values * a.unit, vectors, residuals * a.unit, a.products, "exact", True)


def _as_is(a: Counted, state: Found, method: str) -> Eigenpairs:
    values, residuals = (a.backend.asarray(array, dtype=a.dtype) for array in (state.values, state.residuals))
    return Eigenpairs(values * a.unit, state.vectors(), residuals * a.unit, a.products, method, False)


def _checked(a: Counted, state: Found, which: str, method: str, tolerance: float) -> Eigenpairs:
    """The pairs after a last Rayleigh-Ritz step within the span of the vectors, which k products make possible."""
    xp, backend = a.backend.xp, a.backend
    vectors = state.vectors()
    images = a._matmat(vectors)
    values, rotation = np.linalg.eigh(_symmetrised(host(backend, xp.matrix_transpose(vectors) @ images)))
    order = wanted(values, which)
    values = backend.asarray(np.ascontiguousarray(values[order]), dtype=a.dtype)
    turn = backend.asarray(np.ascontiguousarray(rotation[:, order]), dtype=a.dtype)
    vectors, images = vectors @ turn, images @ turn
    residuals = _norms(xp, images - vectors * values[None, :])
    # What the iteration computed of a residual and what it is differ by rounding, and by that of the products.
    allowed = 10 * max(tolerance, 100 * float(xp.finfo(a.dtype).eps)) * state.scale
    good = bool(xp.all(residuals <= allowed))
    pairs = Eigenpairs(values * a.unit, vectors, residuals * a.unit, a.products, method, good)
    if not pairs.converged:
        worst = float(xp.max(pairs.residuals))
        error = ConvergenceError(
            f"the residuals of {len(state.values)} eigenpairs are up to {worst:.2g}, more than the iteration computed: the "
            "operator's products are not those of one symmetric matrix, or of less precision than their dtype"
        )
        error.partial = pairs  # type: ignore[attr-defined]
        raise error
    return pairs


def _symmetrised(matrix: Any) -> Any:
    return (matrix + matrix.T) / 2


def _norms(xp: Any, columns: Array) -> Array:
    return xp.sqrt(xp.sum(columns * columns, axis=0))
