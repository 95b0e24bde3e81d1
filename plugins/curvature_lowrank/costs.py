"""What low rank, and low rank plus diagonal, cost."""

from __future__ import annotations

from typing import Any

import curvature as cv


def low_rank_cost(method: Any, layout: cv.Layout, *, diagonal: bool = False) -> cv.Cost | None:
    """Of a sketch of fixed width. Where a rule chooses the rank, or an iteration goes to a tolerance, it is measured."""
    adaptive = method.rank == "auto" and method.damping is not None
    if adaptive or not method.is_linear or not layout.is_gauss_newton:
        return None
    size = layout.parameters
    rank = method.largest_rank(size)
    width = min(size, rank + method.oversampling)
    is_few = layout.is_single and layout.rows <= width
    kept = min(rank, layout.rows, size)
    orthonormal = layout.qr(size, width)
    directions = layout.gram(size, width) + float(size) * width**2 if 4 * width <= size else orthonormal
    if is_few:
        statistics = layout.gradients + layout.qr(size, layout.rows) + 4.0 * size * layout.rows * width
    else:
        statistics = layout.products(width) + layout.elementwise(2 * size * width)
    numbers, solving, build, solve = kept * size + kept, 0, 0.0, 4.0 * size * kept + layout.elementwise(2 * kept * size)
    if diagonal:
        numbers += size
        solving = kept * size + kept + size
        build += layout.gram(size, kept) + layout.cholesky(kept) + layout.elementwise(kept * size)
        statistics += layout.elementwise(size * kept) if is_few else layout.squared_gradients
    return cv.Cost(
        flops_statistics=statistics + directions,
        flops_build=build + orthonormal + 6.0 * size * width**2 + layout.eigh(width),
        flops_solve=solve,
        bytes=layout.nbytes(numbers),
        bytes_solving=layout.nbytes(solving),
        detail=cv.Detail.LOW_RANK,
    )
