"""Forms of a matrix Y C Yᵀ with few columns, none of which builds anything P × P."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend.values import has_values
from ..trees import count
from .damping import is_zero
from .spectral import largest_in_magnitude, powered, singular_threshold

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


def times_core(core: Array, m: Array) -> Array:
    """C M for a symmetric C (k, k), or the vector of its diagonal (k,)."""
    return core[:, None] * m if core.ndim == 1 else core @ m


def core_matrix(backend: Backend, core: Array) -> Array:
    """C as a matrix (k, k)."""
    if core.ndim == 2:
        return core
    return core[:, None] * backend.xp.eye(core.shape[0], dtype=core.dtype, device=backend.device)


def joined_cores(backend: Backend, a: Array, b: Array) -> Array:
    """The block-diagonal core of [Y_a, Y_b]: a vector if both are."""
    xp = backend.xp
    if a.ndim == b.ndim == 1:
        return xp.concat([a, b])
    a, b = core_matrix(backend, a), core_matrix(backend, b)
    corner = xp.zeros((a.shape[0], b.shape[0]), dtype=a.dtype, device=backend.device)
    return xp.concat([xp.concat([a, corner], axis=1), xp.concat([xp.matrix_transpose(corner), b], axis=1)], axis=0)


def orthonormal_form(backend: Backend, factor: Array, core: Array) -> tuple[Array, Array]:
    """(V, t) with Y C Yᵀ = V diag(t) Vᵀ and orthonormal V (P, r), r ≤ min(P, k); the largest |t| first.

    With Y = Q R it is the eigendecomposition of R C Rᵀ. Eigenvalues that rounding cannot tell from zero are left out where
    arrays have values.
    """
    xp = backend.xp
    if count(factor) == 0:
        return factor[:, :0], xp.zeros((0,), dtype=factor.dtype, device=backend.device)
    q, r = xp.linalg.qr(factor, mode="reduced")
    values, vectors = backend.eigh(r @ times_core(core, xp.matrix_transpose(r)))
    order = largest_in_magnitude(xp, values, int(values.shape[0]))
    values = xp.take(values, order)
    if has_values(values):
        # The terms of the sum may cancel, so their size and not that of the eigenvalues says what rounding is.
        lengths = xp.sum(r * r, axis=0)
        scale = float(xp.max(lengths * xp.abs(core)) if core.ndim == 1 else xp.max(lengths) * xp.sqrt(xp.sum(core * core)))
        rank = significant(xp, values, scale)
        values, order = values[:rank], order[:rank]
    return q @ xp.take(vectors, order, axis=1), values


def significant(xp: Any, values: Array, scale: float) -> int:
    """How many of some numbers rounding can tell from zero beside ``scale``. (``values`` have values.)"""
    threshold = singular_threshold(xp, scale, 10 + count(values), values.dtype)
    return int(xp.sum(xp.astype(xp.abs(values) > threshold, xp.int32)))


def complement(backend: Backend, vectors: Array, m: int) -> Array:
    """``m`` orthonormal columns (P, m) that are orthogonal to those of ``vectors``."""
    xp, r = backend.xp, int(vectors.shape[1])
    # Whatever the columns that follow, Householder's Q is orthonormal; random ones make it so for any other way to do QR.
    filling = backend.rng(0).normal((int(vectors.shape[0]), m), dtype=vectors.dtype)
    q, _ = xp.linalg.qr(xp.concat([vectors, filling], axis=1), mode="reduced")
    return q[:, r : r + m]


@dataclass(frozen=True, eq=False)
class SpectralForm:
    """V diag(values) Vᵀ + rest · (I - V Vᵀ) with orthonormal columns V.

    Attributes:
        vectors: V (P, r).
        values: eigenvalues (r,), in any order.
        rest: the eigenvalue of all other directions.
    """

    backend: Backend
    vectors: Array
    values: Array
    rest: float

    @property
    def codimension(self) -> int:
        """P - r, how many other directions there are."""
        return int(self.vectors.shape[0]) - int(self.values.shape[0])

    def _rests(self, count: int) -> Array:
        return self.backend.xp.full((count,), self.rest, dtype=self.values.dtype, device=self.backend.device)

    @property
    def spectrum(self) -> Array:
        """The eigenvalues; that of the other directions, where there are any, once and last."""
        return self.backend.xp.concat([self.values, self._rests(1)]) if self.codimension else self.values

    def powers(self, p: float, damping: Any) -> tuple[Array, Array | None]:
        """The p-th powers of the damped eigenvalues, and that of the other directions, None where it is zero."""
        undamped = is_zero(damping)
        if p > 0 and undamped and self.rest == 0:
            return powered(self.backend.xp, self.values, p, damping), None
        powers, r = powered(self.backend.xp, self.spectrum, p, damping), int(self.values.shape[0])
        return powers[:r], powers[r] if self.codimension else None

    def norm(self, order: str | int) -> Array:
        """Frobenius norm ("fro") or spectral norm (2)."""
        xp = self.backend.xp
        if order == "fro":
            return xp.sqrt(xp.sum(self.values**2) + self.codimension * self.rest**2)
        if order == 2:
            return xp.max(xp.abs(self.spectrum))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigenpairs(self, k: int | None) -> tuple[Array, Array]:
        """All eigenpairs, ascending, or the k largest in magnitude, largest first."""
        xp, values, vectors = self.backend.xp, self.values, self.vectors
        # Of a matrix of low rank its own pairs come first.
        enough = k is not None and k <= values.shape[0] and self.rest == 0
        missing = 0 if enough else self.codimension if k is None else min(k, self.codimension)
        if missing:
            values = xp.concat([values, self._rests(missing)])
            vectors = xp.concat([vectors, complement(self.backend, vectors, missing)], axis=1)
        order = xp.argsort(values) if k is None else largest_in_magnitude(xp, values, k)
        return xp.take(values, order), xp.take(vectors, order, axis=1)
