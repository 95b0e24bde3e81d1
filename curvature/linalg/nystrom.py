"""The randomised Nyström approximation of a positive semidefinite map, and the preconditioner that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import namespace
from ..errors import NotPositiveDefiniteError
from .columns import Columns
from .map import Counted, LinearMap, require_symmetric
from .orthonormal import fresh_directions
from .progress import Meter, Progress

Array = Any


def nystrom(A: LinearMap, rank: int, *, seed: int = 0, progress: Progress = None) -> tuple[Array, Array]:
    """(U, λ), U (n, rank) orthonormal and λ (rank,) descending, with A ≈ U diag(λ) Uᵀ = (AΩ) (ΩᵀAΩ)⁺ (AΩ)ᵀ ≤ A.

    Ω is a random orthonormal basis, and ``rank`` products are taken. A is shifted by ν = √n · eps · ‖AΩ‖_F for stability and
    the shift taken away again (Tropp, Yurtsever, Udell and Cevher 2017, algorithm 3).

    Raises:
        ValueError: if the rank does not lie in 1 … n.
        ShapeError, NotSymmetricError: if the map is not square, or not symmetric.
        NotPositiveDefiniteError: if ΩᵀAΩ has a negative eigenvalue, naming it.
        DataError: if a product is not finite.
    """
    n = require_symmetric(A, "nystrom")
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= n:
        raise ValueError(f"rank must lie in 1 … {n}, got {rank}")
    backend, xp = A.backend, A.backend.xp
    with Meter(progress) as meter:
        counted = Counted(A, meter, "Nyström approximation")
        counted.goal = rank
        omega = fresh_directions(backend, backend.rng(seed), n, rank, Columns(xp), A.dtype)
        sketch = counted._matmat(omega)
    size = float(xp.sqrt(xp.sum(sketch * sketch)))
    if size == 0:
        return omega, xp.zeros((rank,), dtype=A.dtype, device=backend.device)
    # In units of its size: the squares of a very small map would vanish.
    sketch = sketch / size
    shift = n**0.5 * float(xp.finfo(A.dtype).eps)
    shifted = sketch + shift * omega
    core = xp.matrix_transpose(omega) @ shifted
    factor, ok = backend.cholesky(core)
    if ok:
        half = xp.matrix_transpose(backend.solve_triangular(factor, xp.matrix_transpose(shifted), lower=True))
    else:
        half = shifted @ _inverse_root(backend, core, shift, size * counted.unit)
    u, singular, _ = xp.linalg.svd(half, full_matrices=False)
    values = singular * singular - shift
    return u, xp.where(values > 0, values, xp.zeros_like(values)) * size * counted.unit


def _inverse_root(backend: Any, core: Array, shift: float, size: float) -> Array:
    """V Λ^(-1/2) of the core, where rounding or an indefinite map leaves it no Cholesky factor."""
    xp = backend.xp
    values, vectors = backend.eigh(core)
    lowest, floor = float(xp.min(values)), 10 * shift * float(xp.max(xp.abs(values)))
    if lowest < -floor - shift:
        raise NotPositiveDefiniteError(
            f"a Nyström approximation needs a positive semidefinite operator; this one has an eigenvalue of "
            f"{lowest * size:.3g} or less; add a damping above {-lowest * size:.3g}"
        )
    positive = values > floor
    inverse = xp.where(positive, 1.0 / xp.sqrt(xp.where(positive, values, xp.ones_like(values))), xp.zeros_like(values))
    return vectors * inverse[None, :]


@dataclass(frozen=True)
class NystromPreconditioner:
    """M⁻¹ = (λ_r + damping) U (Λ + damping·I)⁻¹ Uᵀ + I - U Uᵀ, for A + damping·I (Frangella, Tropp and Udell 2023).

    A function of matrices (n, K): the ``preconditioner`` of ``conjugate_gradient``. With a rank near the effective dimension
    tr A (A + damping·I)⁻¹ the condition number that is left is a small constant. Up to the factor λ_r + damping it is the
    inverse of U Λ Uᵀ + damping·I with what U leaves taken for λ_r.

    Attributes:
        vectors: U (n, rank), orthonormal.
        values: Λ (rank,), descending, not negative.
        damping: that of the system; positive, unless all of the values are.

    Raises:
        ValueError: if the damping is no number ≥ 0, or 0 with a value of 0.
    """

    vectors: Array
    values: Array
    damping: float

    def __post_init__(self) -> None:
        if not 0 <= self.damping < float("inf"):
            raise ValueError(f"damping must be a finite number ≥ 0, got {self.damping}")
        if not float(self.values[-1]) + self.damping > 0:
            raise ValueError("a Nyström preconditioner of an operator of lower rank needs a damping > 0")

    @classmethod
    def of(cls, A: LinearMap, rank: int, damping: float, *, seed: int = 0) -> NystromPreconditioner:
        """That of a map, by ``nystrom``: ``rank`` products."""
        return cls(*nystrom(A, rank, seed=seed), damping)

    def __call__(self, v: Array) -> Array:
        # Written with the difference from the identity: one pass over U each way.
        last = self.values[-1] + self.damping
        change = last / (self.values + self.damping) - 1.0
        return v + self.vectors @ (change[:, None] * (namespace(v).matrix_transpose(self.vectors) @ v))
