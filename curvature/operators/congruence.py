"""The sum of a diagonal and a matrix of low rank as a congruence of the identity plus low rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend.values import has_values
from ..errors import SingularMatrixError
from .low_rank_forms import core_matrix, joined_cores, orthonormal_form, times_core
from .spectral import singular_threshold

if TYPE_CHECKING:
    from ..backend import Backend, Rng

Array = Any

SMALL = 1e-2
"""Entries of the diagonal that are smaller than this, beside the least that could bound an eigenvalue, are lifted."""


@dataclass(frozen=True, eq=False)
class Congruence:
    """sign · D^½ (I + V diag(τ) Vᵀ) D^½ with a positive diagonal D and orthonormal columns V.

    It is solved, inverted and drawn from at the cost of a product (Woodbury 1950), and positive definite if and only if
    ``sign`` and all 1 + τ are positive (Sylvester's law of inertia).

    Attributes:
        root: the diagonal of D^½, (P,).
        vectors: V (P, r).
        values: τ (r,).
    """

    backend: Backend
    sign: float
    root: Array
    vectors: Array
    values: Array

    @property
    def spectrum(self) -> Array:
        """Eigenvalues of I + V diag(τ) Vᵀ: 1 + τ, and the 1 of all other directions once and last."""
        shifted = 1.0 + self.values
        if self.vectors.shape[0] == self.vectors.shape[1]:
            return shifted
        xp = self.backend.xp
        return xp.concat([shifted, xp.ones((1,), dtype=shifted.dtype, device=self.backend.device)])

    def within(self, v: Array, values: Array) -> Array:
        """(I + V diag(values) Vᵀ) v for a matrix v (P, K)."""
        return v + self.vectors @ (values[:, None] * (self.backend.xp.matrix_transpose(self.vectors) @ v))


def congruence(backend: Backend, entries: Array, factor: Array, core: Array) -> Congruence | None:
    """diag(d) + Y C Yᵀ (P × P, k columns) in that form, or None if more than k entries of d are negative and more than k
    are positive: then no diagonal matrix of one sign is near enough.

    d = D where all entries are positive. Up to k entries that are not, or that are so small that D^-½ would drown the
    others, are lifted to that of the (k + 1)-th smallest, and the difference is taken off again as further columns: an exact
    rewriting. It goes no further, since by Weyl's inequality the matrix has an eigenvalue no larger than that entry: what is
    left of D is conditioned no worse than the matrix itself.

    Raises:
        SingularMatrixError: if more than k entries are zero beside the rest, and so is an eigenvalue.
    """
    xp, sign = backend.xp, 1.0
    if has_values(entries) and entries.shape[0]:
        k = int(factor.shape[1])
        product = xp.sum(factor * xp.matrix_transpose(times_core(core, xp.matrix_transpose(factor))), axis=1)
        scale = max(float(xp.max(xp.abs(entries))), float(xp.max(xp.abs(entries + product))))
        tiny = singular_threshold(xp, scale, k + 1, entries.dtype)
        zeros, negative = _number(xp, xp.abs(entries) <= tiny), _number(xp, entries < -tiny)
        if zeros > k or scale == 0:
            raise SingularMatrixError("the diagonal part has more zeros than the other part has columns")
        if negative + zeros > k:
            if int(entries.shape[0]) - negative > k:
                return None
            entries, core, sign = -entries, -core, -1.0
        entries, factor, core = _lifted(backend, entries, factor, core, scale)
    root = xp.sqrt(entries)
    vectors, values = orthonormal_form(backend, factor / root[:, None], core)
    return Congruence(backend, sign, root, vectors, values)


def _number(xp: Any, condition: Array) -> int:
    return int(xp.sum(xp.astype(condition, xp.int32)))


def _lifted(backend: Backend, entries: Array, factor: Array, core: Array, scale: float) -> tuple[Array, Array, Array]:
    """The same sum with its few small entries raised to s: diag(d) + E diag(s - d) Eᵀ, and Y C Yᵀ - E diag(s - d) Eᵀ."""
    xp, n, k = backend.xp, int(entries.shape[0]), int(factor.shape[1])
    order = xp.argsort(entries)
    bound = scale if k >= n else min(scale, float(xp.take(entries, order[k : k + 1])[0]))
    positions = order[: min(k, _number(xp, entries < SMALL * bound))]
    if not positions.shape[0]:
        return entries, factor, core
    rows = xp.arange(n, dtype=positions.dtype, device=backend.device)
    unit = xp.astype(rows[:, None] == positions[None, :], entries.dtype)
    gap = bound - xp.take(entries, positions)
    lifted = xp.where(xp.any(unit > 0, axis=1), xp.zeros_like(entries) + bound, entries)
    return lifted, xp.concat([factor, unit], axis=1), joined_cores(backend, core, -gap)


def sum_of_draws(backend: Backend, entries: Array, factor: Array, core: Array, rng: Rng, n: int) -> Array | None:
    """√d z + Y C^½ w (n, P), of covariance diag(d) + Y C Yᵀ, where both are positive semidefinite; else None."""
    xp, size = backend.xp, int(entries.shape[0])
    if not has_values(entries) or bool(xp.any(entries < 0)):
        return None
    drawn = xp.sqrt(entries)[:, None] * rng.normal((size, n), dtype=entries.dtype)
    if core.shape[0]:
        values, vectors = backend.eigh(core_matrix(backend, core))
        largest, least = float(xp.max(xp.abs(values))), float(xp.min(values))
        if least < -singular_threshold(xp, largest, int(values.shape[0]), entries.dtype):
            return None
        roots = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
        noise = rng.normal((int(values.shape[0]), n), dtype=entries.dtype)
        drawn = drawn + factor @ (vectors @ (roots[:, None] * noise))
    return xp.matrix_transpose(drawn)
