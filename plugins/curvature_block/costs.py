"""What the whole matrix and its diagonal blocks cost."""

from __future__ import annotations

from typing import Any

import curvature as cv


def exact_cost(layout: cv.Layout) -> cv.Cost:
    """P × P numbers, and as many again for their Cholesky factor."""
    return _dense(layout, [layout.parameters], cv.Detail.MATRIX)


def block_diagonal_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """Of the partitions "layer" and "parameter"; of others it is measured."""
    if method.partition == "layer":
        return _dense(layout, [layer.size for layer in layout.layers], cv.Detail.LAYER_BLOCKS)
    if method.partition == "parameter":
        return _dense(layout, [size for layer in layout.layers for size in layer.parameters], cv.Detail.LAYER_BLOCKS)
    return None


def _dense(layout: cv.Layout, sizes: list[int], detail: cv.Detail) -> cv.Cost:
    squares = sum(size**2 for size in sizes)
    if layout.is_gauss_newton:
        statistics = layout.gradients + sum(2.0 * layout.rows * size**2 for size in sizes)
    else:
        statistics = layout.products(layout.parameters)
    return cv.Cost(
        flops_statistics=statistics,
        flops_build=sum(layout.cholesky(size) for size in sizes),
        flops_solve=2.0 * squares + layout.elementwise(squares),
        bytes=layout.nbytes(squares),
        bytes_solving=layout.nbytes(squares),
        detail=detail,
    )
