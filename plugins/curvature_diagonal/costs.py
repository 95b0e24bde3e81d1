"""What the diagonal costs."""

from __future__ import annotations

from typing import Any

import curvature as cv

PRODUCTS = 1000
"""Products that an estimated diagonal takes where nobody says."""


def diagonal_cost(method: Any, layout: cv.Layout) -> cv.Cost:
    """Squared gradients of a Fisher-type matrix; of another one a product for each column, or as many as an estimate takes."""
    size = layout.parameters
    numbers, statistics = size, layout.squared_gradients
    if not layout.is_gauss_newton:
        few = size <= method.exact_below
        statistics = layout.products(size if few else min(size, method.max_products or PRODUCTS))
        numbers = size if few else 2 * size  # with its error bars
    return cv.Cost(statistics, 0.0, layout.elementwise(3 * size), layout.nbytes(numbers), detail=cv.Detail.DIAGONAL)
