"""Eigenbases of symmetric factors: of few examples without forming the factor, of several at once, from where another was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np

import curvature as cv
from curvature.backend import has_values

Array = Any
T = TypeVar("T", bound=tuple[Any, ...])
Pair = tuple[Array, Array]
"""Eigenvalues (r,), ascending, and orthonormal eigenvectors (d, r)."""


def eigenbases(backend: cv.Backend, factors: Mapping[str, Array]) -> dict[str, Pair]:
    """Eigenvalues (d,) and eigenvectors (d, d) of symmetric matrices, those of one size in one call.

    Raises:
        ConvergenceError: naming the matrix; float64 and a small multiple of the identity have been tried.
    """
    return _by_shape(backend, factors, backend.eigh)


def thin_eigenbases(backend: cv.Backend, rows: Mapping[str, Array]) -> dict[str, tuple[Array, Array, Array]]:
    """Eigenvalues (n,) and eigenvectors Q (d, n) of Xᵀ X for X (n, d), n ≤ d: all that are not zero; and X Q (n, n).

    By Xᵀ = P R and the eigenvectors V of R Rᵀ (n, n): Q = P V is orthonormal to rounding, also where X has a lower rank.
    """
    xp = backend.xp

    def decompose(stack: Array) -> tuple[Array, Array, Array]:
        p, r = xp.linalg.qr(xp.matrix_transpose(stack))
        values, vectors = backend.eigh(r @ xp.matrix_transpose(r))
        return values, p @ vectors, xp.matrix_transpose(r) @ vectors

    return _by_shape(backend, rows, decompose)


def _by_shape(backend: cv.Backend, arrays: Mapping[str, Array], decompose: Callable[[Array], T]) -> dict[str, T]:
    xp = backend.xp
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, array in arrays.items():
        groups.setdefault(tuple(int(n) for n in array.shape), []).append(name)
    found: dict[str, Any] = {}
    for names in groups.values():
        if len(names) > 1:
            stacked = _attempt(backend, decompose, xp.stack([arrays[name] for name in names]))
            if stacked is not None:
                found.update({name: tuple(part[i, ...] for part in stacked) for i, name in enumerate(names)})
                continue
        found.update({name: _careful(backend, decompose, arrays[name], name) for name in names})
    return {name: found[name] for name in arrays}


def _attempt(backend: cv.Backend, decompose: Callable[[Array], T], array: Array) -> T | None:
    """The decomposition, or None where the library says that it did not converge, or gives NaN instead of saying so."""
    theirs = getattr(getattr(backend.xp, "linalg", None), "LinAlgError", np.linalg.LinAlgError)
    try:
        found = decompose(array)
    except (np.linalg.LinAlgError, cv.ConvergenceError, theirs):
        return None
    values = found[0]
    return found if not has_values(values) or bool(backend.xp.isfinite(backend.xp.sum(values))) else None


def _careful(backend: cv.Backend, decompose: Callable[[Array], T], array: Array, name: str) -> T:
    """The decomposition of one array: in its own precision, else in float64, else of an array that is a little off."""
    xp, dtype = backend.xp, array.dtype
    found = _attempt(backend, decompose, array)
    if found is not None:
        return found
    wide = xp.astype(array, xp.float64)
    tiny = float(xp.finfo(dtype).eps) * float(xp.max(xp.abs(wide)))
    n, d = (int(length) for length in wide.shape)
    for shift in (0.0, tiny, 10 * tiny):
        moved = wide if shift == 0.0 else wide + shift * xp.eye(n, d, dtype=wide.dtype, device=backend.device)
        found = _attempt(backend, decompose, moved)
        if found is not None:
            return cast(T, tuple(xp.astype(part, dtype) for part in found))
    raise cv.ConvergenceError(
        f"the eigendecomposition of {name} ({n} × {d}) did not converge, neither in {dtype} nor in float64 with a small "
        f"multiple of the identity added; its entries reach {float(xp.max(xp.abs(wide))):.3g}: scale the layer's inputs, lower "
        f"the learning rate or raise the damping"
    )


def drift(backend: cv.Backend, factor: Array, basis: Array) -> tuple[Array, Array]:
    """(‖off-diagonal of Qᵀ A Q‖_F / ‖A‖_F, the diagonal of Qᵀ A Q): how far Q is from being an eigenbasis of A."""
    xp = backend.xp
    rotated = xp.matrix_transpose(basis) @ (factor @ basis)
    diagonal = xp.reshape(rotated, (-1,))[:: rotated.shape[0] + 1]
    # Taken out entry by entry: the difference of two sums of squares would be off by the root of the rounding error.
    outside = rotated - diagonal[:, None] * xp.eye(rotated.shape[0], dtype=rotated.dtype, device=backend.device)
    norm = xp.sqrt(xp.sum(rotated * rotated))
    return xp.sqrt(xp.sum(outside * outside)) / xp.where(norm > 0, norm, xp.ones_like(norm)), diagonal


def iterated(backend: cv.Backend, factor: Array, basis: Array) -> Pair:
    """One step of orthogonal iteration from an earlier basis, Q ← qr(A Q), and the diagonal of Qᵀ A Q.

    No eigendecomposition: as in SOAP (Vyas et al. 2024).
    """
    xp = backend.xp
    vectors, _ = xp.linalg.qr(factor @ basis)
    return xp.sum(vectors * (factor @ vectors), axis=0), vectors
