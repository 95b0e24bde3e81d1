"""The block Lanczos process with full reorthogonalisation, on which everything spectral rests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NotSymmetricError
from .columns import Columns
from .map import Counted
from .orthonormal import fresh_directions, orthonormalised

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Krylov:
    """An orthonormal basis Q (n, d) with A Q = Q T + W B: the block Lanczos process (Golub and Underwood 1977).

    Every new block is made orthogonal to all of Q twice, so that no ghost copies of eigenvalues appear. T = QᵀAQ is kept
    on the host in float64, where the small eigenproblems are solved.

    Args:
        a: a symmetric map.
        start: the first block W (n, K).
        refill: where the rng is from that replaces directions in which the space is exhausted; without it the block gets
            narrower, down to nothing (``exhausted``).

    Attributes:
        basis: Q.
        projected: T (d, d).
        block: W (n, K), orthonormal and orthogonal to Q.
        coupling: B (K, d).
        first: start = [Q W] first, at the outset: ``first`` is (K, columns of start).
    """

    def __init__(self, a: Counted, start: Array, *, refill: Rng | None = None) -> None:
        xp = a.backend.xp
        self._a, self._refill = a, refill
        self._scale = 0.0
        self.basis = Columns(xp)
        self.projected: Any = np.zeros((0, 0))
        size = float(xp.max(xp.sqrt(xp.sum(start * start, axis=0)))) if start.shape[1] else 0.0
        self.block, _, self.first = orthonormalised(a.backend, start, self.basis, scale=size)
        self.coupling: Any = np.zeros((int(self.block.shape[1]), 0))
        self._coupled = True

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.projected.shape[0])

    @property
    def width(self) -> int:
        """K."""
        return int(self.block.shape[1])

    @property
    def exhausted(self) -> bool:
        """Whether A maps the space into itself, and nothing is added to it."""
        return self.width == 0

    def step(self) -> None:
        """Take the block W into the basis: K products.

        Raises:
            NotSymmetricError: if the products show that the map is not symmetric.
        """
        a, xp, d, k = self._a, self._a.backend.xp, self.dimension, self.width
        image = a._matmat(self.block)
        self._scale = max(self._scale, float(xp.max(xp.sqrt(xp.sum(image * image, axis=0)))))
        basis = self.basis.with_columns(self.block)
        block, inner, residual = orthonormalised(a.backend, image, basis, scale=self._scale)
        self._check_symmetric(inner, d)
        above, corner = inner[:d], (inner[d:] + inner[d:].T) / 2
        projected = np.block([[self.projected, above], [above.T, corner]])
        if self._refill is not None and block.shape[1] < k:
            with_block = basis.with_columns(block)
            more = fresh_directions(a.backend, self._refill, a.shape[1], k - int(block.shape[1]), with_block, a.dtype)
            if more.shape[1]:
                block = xp.concat([block, more], axis=1)
                residual = np.concatenate([residual, np.zeros((int(more.shape[1]), k))])
        coupling = np.concatenate([np.zeros((residual.shape[0], d)), residual], axis=1)
        self.basis, self.projected, self.block, self.coupling, self._coupled = basis, projected, block, coupling, True

    def _check_symmetric(self, inner: Any, d: int) -> None:
        eps = float(self._a.backend.xp.finfo(self._a.dtype).eps)
        gap = float(np.max(np.abs(inner[d:] - inner[d:].T), initial=0.0))
        if self._coupled:
            gap = max(gap, float(np.max(np.abs(inner[:d] - self.coupling.T), initial=0.0)))
        if gap > eps**0.25 * self._scale:
            raise NotSymmetricError(
                f"{self._a.text} needs a symmetric operator; uᵀAv and vᵀAu differ by {gap / self._scale:.2g} of the size of A"
            )

    def eigh(self) -> tuple[Any, Any, Any]:
        """Ritz values (d,), ascending, their vectors in the basis (d, d), and the norms of their residuals (d,)."""
        values, vectors = np.linalg.eigh(self.projected)
        return values, vectors, np.linalg.norm(self.coupling @ vectors, axis=0)

    def combined(self, coefficients: Any, basis: Columns | None = None) -> Array:
        """Q (or the basis that is given) times coefficients (d, p) from the host."""
        basis = self.basis if basis is None else basis
        return basis.combine(self._a.backend.asarray(np.ascontiguousarray(coefficients), dtype=self._a.dtype))

    def restart(self, values: Any, vectors: Any) -> None:
        """Keep of the space these Ritz vectors only (a thick restart, Wu and Simon 2000); the block W stays."""
        kept = self.combined(vectors)
        self.coupling = self.coupling @ vectors
        self.basis, self.projected = Columns(self._a.backend.xp, kept), np.diag(values)

    def replace_block(self, rng: Rng, width: int) -> None:
        """A random block in place of W: where the Ritz vectors that are kept have converged, it takes nothing away."""
        self.block = fresh_directions(self._a.backend, rng, self._a.shape[1], width, self.basis, self._a.dtype)
        self.coupling, self._coupled = np.zeros((self.width, self.dimension)), False
