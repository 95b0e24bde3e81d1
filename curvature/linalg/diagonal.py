"""The diagonal of a map that is known by its products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .adaptive import Sampler, estimated
from .estimate import Estimate
from .exact import exact_diagonal
from .hutchinson import DiagonalMean
from .jackknife import pair_weights
from .leave_one_out import Sketch
from .map import Counted, LinearMap, require_square
from .progress import Progress

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


CACHED = 2**18
"""Numbers of a sketch that are worked on at a time: what follows from them stays in the processor's cache."""


class XDiag(Sketch):
    """diag A as the mean over i of diag(Q_(i) Q_(i)ᵀ A) + ω_i ∘ (I - Q_(i) Q_(i)ᵀ) A ω_i (Epperly, Tropp, Webber 2024).

    With A Ω = Q R, Z = AᵀQ and the directions s_i of ``Sketch``, that is rowsum(Q ∘ Z) - Qs_i ∘ Zs_i + ω_i ∘ Qs_i (s_iᵀr_i).
    For the standard errors see ``jackknife``.
    """

    method, start, cost = "xdiag", 16, 2

    def __init__(self, a: Counted, rng: Rng) -> None:
        super().__init__(a, rng, probes="signs")

    def _image(self, q: Array) -> Array:
        return self._a.transposed(q)

    def result(self) -> tuple[Array, Array]:
        xp, backend = self._a.backend.xp, self._a.backend
        rows = self.rows()  # Ωᵀ, Qᵀ and Zᵀ, (m, n) each
        r, s = self.products()
        m, lengths = self.probes, (s * r).sum(axis=0)

        def array(values: Any) -> Array:
            return backend.asarray(np.ascontiguousarray(values), dtype=self._a.dtype)

        directions, lengths = array(s.T), array(lengths)[:, None]
        weights = None
        if m > 2:
            p, q, p_other = (weights * (1.0 - np.eye(m)) for weights in pair_weights(s))
            weights = array(p.T), array(q.T), array(p_other.sum(axis=0))[:, None]
        step = max(1, CACHED // m)
        slices = [slice(start, min(start + step, self.length)) for start in range(0, max(self.length, 1), step)]
        parts = [_entries(xp, [array[:, some] for array in rows], directions, lengths, weights) for some in slices]
        value, error = (xp.concat(list(pieces)) for pieces in zip(*parts, strict=True))
        return value, error


def _entries(xp: Any, rows: list[Array], directions: Array, lengths: Array, weights: Any) -> tuple[Array, Array]:
    """Some entries of the diagonal, and their standard errors."""
    omega, q, z = rows
    m = int(q.shape[0])

    def squares(values: Array) -> Array:
        deviation = values - xp.mean(values, axis=0)[None, :]
        return xp.sum(deviation * deviation, axis=0)

    left, right = directions @ q, directions @ z
    difference = omega * lengths - right
    change = left * difference
    value = xp.sum(q * z, axis=0) + xp.mean(change, axis=0)
    independent = squares(change) / (m * max(m - 1, 1))
    if weights is None:
        return value, xp.sqrt(independent)
    # What is taken from Q Qᵀ, and put back for ω_i, with i and j left out; summed over i ≠ j.
    own, both, other = weights
    without = own @ change + left * (both @ difference - right * other) - right * (both @ left)
    return value, (independent * squares(without) / (m * (m - 1))) ** 0.25


METHODS: dict[str, Callable[[Counted, Any], Sampler]] = {"xdiag": XDiag, "hutchinson": DiagonalMean}


def diagonal(
    A: LinearMap,
    *,
    method: Literal["xdiag", "hutchinson"] = "xdiag",
    tolerance: float = 0.05,
    max_products: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Estimate:
    """The diagonal (n,) of a square map, estimated until ‖standard errors‖₂ is at most ``tolerance`` · ‖diagonal‖₂.

    The methods are ``xdiag`` (Epperly, Tropp and Webber 2024), whose error falls with the eigenvalues, and ``hutchinson``
    (Bekas, Kokiopoulou and Saad 2007), which stores no columns. Where it takes n products or more, n products give it
    exactly. Value and standard errors are arrays (n,) of the backend.

    Args:
        max_products: where to stop with ``converged=False``; by default 1000, or 4 n for n ≤ 1000. ``xdiag`` stops too
            where what it keeps (3/2 columns for each product) would take more than 4 GiB.
        seed: of the random probes; one seed gives one answer.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        ShapeError: if the map is not square.
        UnsupportedError: ``xdiag`` of a map that is not symmetric and has no ``T``.
        ValueError: if the method, tolerance or ``max_products`` cannot be.
        DataError: if a product is not finite.
        KeyboardInterrupt: with the estimate so far as its attribute ``partial``.
    """
    require_square(A, "diagonal")
    return estimated(
        A,
        "diagonal",
        METHODS,
        exact_diagonal,
        method=method,
        tolerance=tolerance,
        max_products=max_products,
        seed=seed,
        progress=progress,
    )
