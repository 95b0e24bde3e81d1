"""A function of a symmetric map times vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ConvergenceError, ShapeError
from .adaptive import allowance, check_tolerance
from .krylov import Krylov
from .map import Counted, LinearMap, require_symmetric
from .progress import Meter, Progress
from .quadrature import is_checked, lag, longest_basis
from .trace_of_function import evaluated

Array = Any

PRODUCTS = 5000
"""How many products a group of columns may take where nobody says."""

STEPS = 100
"""Steps for which the memory of a basis should do: fewer columns share one where they are long."""


def apply_function(
    A: LinearMap,
    f: Callable[[Array], Array],
    V: Array,
    *,
    tolerance: float | None = None,
    max_products: int | None = None,
    progress: Progress = None,
) -> Array:
    """f(A) V of a symmetric map (n, n), for V a vector (n,) or a matrix (n, K): Q f(T) Qᵀ V with Q from block Lanczos.

    (Druskin and Knizhnerman 1989; Saad 1992.) It stops where no column has changed, since an eighth of the steps before, by
    more than ``tolerance`` of its norm; where the Krylov space is exhausted the result is exact to rounding.

    Args:
        f: a function of arrays of eigenvalues, entry by entry. Rounding leaves zero eigenvalues slightly negative.
        tolerance: by default eps^0.64: 1e-10 in float64, 4e-5 in float32.
        max_products: for each group of columns that share a basis; by default 5000, or n.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ShapeError, NotSymmetricError: if the map is not square, or not symmetric, or V does not fit it.
        ConvergenceError: naming the change in the last steps, if the products or the memory for the basis did not do.
        DataError: if a product, or f of an eigenvalue, is not finite.
    """
    n = require_symmetric(A, "apply_function")
    xp = A.backend.xp
    if V.ndim not in (1, 2) or V.shape[0] != n:
        raise ShapeError(f"apply_function of an operator of shape {(n, n)} takes ({n},) or ({n}, K), got {tuple(V.shape)}")
    if V.ndim == 1:
        matrix = apply_function(
            A, f, xp.expand_dims(V, axis=1), tolerance=tolerance, max_products=max_products, progress=progress
        )
        return matrix[:, 0]
    if tolerance is None:
        tolerance = float(xp.finfo(A.dtype).eps) ** 0.64
    check_tolerance(tolerance)
    budget = allowance(max_products, n, PRODUCTS)
    with Meter(progress) as meter:
        counted = Counted(A, meter, "function of a matrix")
        group = max(1, min(8, longest_basis(counted) // STEPS))
        width = int(V.shape[1])
        parts = [_of_group(counted, f, V[:, j : min(j + group, width)], tolerance, budget) for j in range(0, width, group)]
    if not parts:
        return V
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)


def _of_group(a: Counted, f: Callable[[Array], Array], v: Array, tolerance: float, budget: int) -> Array:
    xp = a.backend.xp
    sizes = xp.max(xp.abs(v), axis=0)
    sizes = xp.where(sizes > 0, sizes, xp.ones_like(sizes))[None, :]
    # Columns of one size: a small one beside a large one is not rounding.
    space = Krylov(a, v / sizes)
    if len(space.first) == 0:
        return v
    eps, longest = float(xp.finfo(a.dtype).eps), min(longest_basis(a), budget)
    history: list[tuple[int, Any]] = []
    start, step = space.first, 0
    norms = np.linalg.norm(start, axis=0)
    while True:
        space.step()
        step += 1
        last = space.dimension + space.width > longest
        if not (space.exhausted or last or is_checked(step)):
            continue
        nodes, vectors, _ = space.eigh()
        values = evaluated(a, f, nodes)
        result = vectors @ (values[:, None] * (vectors[: len(start)].T @ start))
        if space.exhausted:
            return space.combined(result) * sizes
        before = [coefficients for then, coefficients in history if then <= step - lag(step)]
        if before:
            change = result - np.pad(before[-1], ((0, len(result) - len(before[-1])), (0, 0)))
            moved = np.linalg.norm(change, axis=0)
            # What f makes of the largest eigenvalue is only known to rounding.
            target = tolerance * np.linalg.norm(result, axis=0) + 10 * eps * np.max(np.abs(values)) * norms
            if np.all(moved <= target):
                return space.combined(result) * sizes
        if last:
            reached = "unknown" if not before else f"{np.max(moved / np.maximum(np.linalg.norm(result, axis=0), 1e-300)):.2g}"
            raise ConvergenceError(
                f"f(A) v still changes by {reached} of its norm after {step} Lanczos steps, not {tolerance:.2g}; allow more "
                "with max_products, ask for a larger tolerance, or damp the operator"
            )
        history.append((step, result))
