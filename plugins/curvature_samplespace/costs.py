"""What the side of the examples costs."""

from __future__ import annotations

from typing import Any

import curvature as cv


def sample_space_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """J̃ (m, P), m = N·R or P if that is less, and K (m, m) with its Cholesky factor once it solves; or K alone."""
    if not layout.is_gauss_newton or method.centred:
        return None
    rows, size = layout.rows, layout.parameters
    m = min(rows, size)
    factored = layout.nbytes(m * m)
    if layout.nbytes(m * size) <= method.memory and method.storage != "matrix-free":
        compressed = layout.qr(max(rows, size), min(rows, size)) if rows > size else 0.0
        return cv.Cost(
            flops_statistics=layout.gradients + compressed,
            flops_build=layout.gram(size, m) + layout.cholesky(m),
            flops_solve=4.0 * m * size + 2.0 * m * m + layout.elementwise(2 * m * size),
            bytes=layout.nbytes(m * size),
            bytes_solving=2 * factored,
            detail=cv.Detail.MATRIX,
        )
    gram = sum(2.0 * rows * rows * (layer.d_in / layout.columns**2 + layer.d_out) for layer in layout.layers)
    return cv.Cost(
        flops_statistics=layout.layer_values + gram,
        flops_build=layout.cholesky(rows),
        flops_solve=layout.products(1) + 2.0 * rows * rows,
        bytes=layout.nbytes(rows * rows),
        bytes_solving=layout.nbytes(rows * rows),
        detail=cv.Detail.MATRIX,
    )
