"""What a truncated inverse costs: nothing until it solves, and then products with the matrix."""

from __future__ import annotations

from typing import Any

import curvature as cv

ITERATIONS = 400
"""Conjugate gradients that go to a tolerance are taken to need so many products, unknown as the eigenvalues are."""

TERMS = 1000
"""Terms of a series that goes to a tolerance, likewise."""

MEASURING = 50
"""Products in which the extreme eigenvalues are measured."""


def conjugate_gradients_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """At most ``iterations`` products."""
    return _cost(method, layout, ITERATIONS if method.iterations is None else method.iterations, 0)


def neumann_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """A product for each term."""
    return _cost(method, layout, TERMS if method.order == "auto" else method.order, MEASURING)


def _cost(method: Any, layout: cv.Layout, products: int, before: int) -> cv.Cost | None:
    near = method.chosen()
    if near is None:
        return cv.Cost(0.0, layout.products(before) if before else 0.0, layout.products(products), 0, detail=cv.Detail.MATRIX)
    known = near.cost(layout)
    if known is None:
        return None
    # A preconditioner is there to make the products few.
    few = max(1, products // 3)
    return cv.Cost(
        flops_statistics=known.flops_statistics,
        flops_build=known.flops_build + layout.products(before),
        flops_solve=layout.products(few) + few * known.flops_solve,
        bytes=known.bytes,
        bytes_solving=known.bytes_solving,
        detail=cv.Detail.MATRIX,
    )
