"""How far an approximation is from its matrix, without either being formed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    """The relative error of an approximation A of a matrix M, ‖M - A‖ / ‖M‖ in the Frobenius norm.

    Attributes:
        relative_error: ‖M - A‖ / ‖M‖.
        interval: where it lies with 95 % confidence; both ends are ``relative_error`` where it is exact.
        exact: whether it is exact, to ``resolution``.
        method: how it was found.
        resolution: an error below this cannot be told from zero: the square root of the rounding of the squared norms.
        matrix_norm, approximation_norm: ‖M‖ and ‖A‖.
        cosine: <M, A> / (‖M‖ ‖A‖), 1 where A is a positive multiple of M.
    """

    relative_error: float
    interval: tuple[float, float]
    exact: bool
    method: str
    resolution: float
    matrix_norm: float
    approximation_norm: float
    cosine: float

    def __str__(self) -> str:
        if self.exact:
            small = self.relative_error <= self.resolution
            error = f"≤ {self.resolution:.1g}" if small else f"{self.relative_error:.4g}"
            return f"relative Frobenius error {error} ({self.method})"
        low, high = self.interval
        return f"relative Frobenius error {self.relative_error:.3g}, 95 % in [{low:.3g}, {high:.3g}] ({self.method})"


def from_moments(
    matrix: float, inner: float, approximation: float, *, eps: float, method: str, variance: float | None = None
) -> Certificate:
    """The certificate of ‖M‖², <M, A> and ‖A‖².

    Args:
        variance: of the squared relative error, where the moments are estimates.
    """
    if matrix <= 0:
        error = 0.0 if approximation <= 0 else float("inf")
        return Certificate(error, (error, error), True, method, 0.0, 0.0, max(approximation, 0.0) ** 0.5, 1.0)
    squared = (matrix - 2.0 * inner + approximation) / matrix
    error = max(squared, 0.0) ** 0.5
    resolution = (4.0 * eps * (1.0 + approximation / matrix)) ** 0.5
    interval = (error, error)
    if variance is not None:
        width = 1.96 * variance**0.5
        interval = (max(squared - width, 0.0) ** 0.5, max(squared + width, 0.0) ** 0.5)
    cosine = inner / (matrix * approximation) ** 0.5 if approximation > 0 else 0.0
    return Certificate(error, interval, variance is None, method, resolution, matrix**0.5, approximation**0.5, cosine)
