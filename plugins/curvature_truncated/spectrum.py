"""Where the eigenvalues of P A lie: the Lanczos process in the inner product of P."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import curvature as cv

Array = Any
Product = Callable[[Array], Array]

ACCURACY = 1e-3
MARGIN = 0.01
MIN_STEPS = 8
MAX_STEPS = 50


@dataclass(frozen=True)
class Extremes:
    """The ends of a spectrum.

    Attributes:
        smallest: the smallest Ritz value, which is no smaller than the smallest eigenvalue.
        largest: the largest Ritz value, which is no larger than the largest eigenvalue.
        bound: the largest Ritz value and its residual, a hundredth at least: above the largest eigenvalue, but for once in
            about a thousand times, where the random start hardly has a part of its vector.
        products: products with the matrix that it took.
    """

    smallest: float
    largest: float
    bound: float
    products: int

    def shifted(self, damping: float) -> Extremes:
        """Those of A + damping·I."""
        return Extremes(self.smallest + damping, self.largest + damping, self.bound + damping, self.products)


def extremes(
    xp: Any,
    product: Product,
    precondition: Product | None,
    start: Array,
    *,
    accuracy: float = ACCURACY,
    max_steps: int = MAX_STEPS,
) -> Extremes:
    """The ends of the spectrum of P A, for symmetric A and positive definite P, until the upper one is known to ``accuracy``.

    P A has the eigenvalues of P^½ A P^½; the process needs products with A and P alone, one of each a step, and keeps two
    vectors: without reorthogonalisation the extreme Ritz values converge all the same (Paige 1980).

    Args:
        start: (n, 1), random.

    Raises:
        NotPositiveDefiniteError: if P is not positive definite.
        DataError: if a product is not finite.

    Source: Lanczos (1950).
    """
    steps = min(max_steps, int(start.shape[0]))
    eps = float(xp.finfo(start.dtype).eps)
    diagonal: list[float] = []
    beside: list[float] = []
    residual, before = start, xp.zeros_like(start)
    image = residual if precondition is None else precondition(residual)
    beta = _norm(xp, residual, image)
    if beta == 0:
        raise cv.NotPositiveDefiniteError("the preconditioner is zero; damp the solve, or take another preconditioner")
    while True:
        v, z = residual / beta, image / beta
        residual = product(z)
        alpha = float(xp.sum(z * residual))
        if not math.isfinite(alpha):
            raise cv.DataError("a product of the matrix with a vector is NaN or infinite: look at the parameters and data")
        residual = residual - alpha * v - (beta * before if diagonal else 0.0)
        diagonal.append(alpha)
        image = residual if precondition is None else precondition(residual)
        beta, before = _norm(xp, residual, image), v
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        scale = max(abs(float(values[0])), abs(float(values[-1])))
        gap = beta * abs(float(vectors[-1, -1]))
        # A random start that lies in an invariant subspace lies in that of all eigenvalues.
        exhausted = beta <= eps**0.5 * scale or len(diagonal) == start.shape[0]
        if exhausted or len(diagonal) == steps or (gap <= accuracy * scale and len(diagonal) >= MIN_STEPS):
            margin = gap if exhausted else max(gap, MARGIN * scale)
            return Extremes(float(values[0]), float(values[-1]), float(values[-1]) + margin, len(diagonal))
        beside.append(beta)


def _norm(xp: Any, residual: Array, image: Array) -> float:
    """√(rᵀ P r)."""
    square = float(xp.sum(residual * image))
    if not math.isfinite(square):
        raise cv.DataError("a product of the preconditioner with a vector is NaN or infinite")
    if square < 0:
        # Rounding may leave a vector of length zero slightly negative.
        lengths = float(xp.sum(residual * residual)) * float(xp.sum(image * image))
        if square < -100 * float(xp.finfo(residual.dtype).eps) * math.sqrt(lengths):
            raise cv.NotPositiveDefiniteError(
                "the preconditioner is not positive definite; damp the solve, or take another preconditioner"
            )
    return math.sqrt(max(square, 0.0))
