"""What Kronecker-factored approximations cost, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import curvature as cv

ITERATIONS = 8
"""Iterations that the nearest product is taken to need, from K-FAC's as it starts."""

PRODUCTS = 400
"""Products that an iterative solve is taken to need."""

DENSE = 5000
"""Largest operator whose solve is dense where its structure has none."""


@dataclass
class Total:
    """Operations and numbers, added up over layers."""

    statistics: float = 0.0
    build: float = 0.0
    solve: float = 0.0
    numbers: int = 0
    solving: int = 0

    def add(self, statistics: float, build: float, solve: float, numbers: int, solving: int = 0) -> None:
        """Those of one layer."""
        self.statistics += statistics
        self.build += build
        self.solve += solve
        self.numbers += numbers
        self.solving += solving

    def cost(self, layout: cv.Layout, passes: float, detail: cv.Detail) -> cv.Cost:
        """With what the passes over the data take."""
        held, solving = layout.nbytes(self.numbers), layout.nbytes(self.solving)
        return cv.Cost(passes + self.statistics, self.build, self.solve, held, solving, detail)


def kfac_cost(method: Any, layout: cv.Layout, *, probes: int = 0) -> cv.Cost | None:
    """A and G of each layer; their eigenvectors once it solves with a damping.

    Args:
        probes: further cotangents that are passed back.
    """
    if not layout.is_gauss_newton:
        return None
    reduced = getattr(method, "sharing", "expand") == "reduce"
    total = _layers(layout, getattr(method, "max_dense", 1000), lambda total, layer: _factors(total, layout, layer, reduced))
    return total.cost(layout, layout.layer_values + probes * layout.backward, cv.Detail.FACTORS)


def _layers(layout: cv.Layout, max_dense: int, factored: Callable[[Total, Any], None]) -> Total:
    """The sum over layers; those that are no matrices have a dense block of their own, or its diagonal."""
    total = Total()
    for layer in layout.layers:
        if layer.is_matrix:
            factored(total, layer)
        elif layer.size > max_dense:
            total.add(layout.elementwise(layout.rows * layer.size), 0.0, layout.elementwise(3 * layer.size), layer.size)
        else:
            square = layer.size**2
            total.add(2.0 * layout.rows * square, layout.cholesky(layer.size), 2.0 * square, square, square)
    return total


def _grams(layout: cv.Layout, layer: Any, reduced: bool = False) -> float:
    """The factors A and G."""
    positions = layout.examples * (1 if reduced and layer.kind == "affine" else layer.positions)
    inputs = layout.elementwise(positions) if layer.kind == "embedding" else layout.gram(positions, layer.d_in)
    return inputs + layout.gram(positions * layout.columns, layer.d_out)


def _factors(total: Total, layout: cv.Layout, layer: Any, reduced: bool) -> None:
    d, o = layer.d_in, layer.d_out
    statistics = _grams(layout, layer, reduced)
    if layer.kind == "embedding":
        total.add(statistics, layout.eigh(o), 4.0 * d * o * o, o * o + d * o, d * o)
        return
    eigenvectors = layout.eigh(d) + layout.eigh(o)
    total.add(statistics, eigenvectors, _rotations(layout, d, o, d, o), d * d + o * o, _eigenbasis(d, o))


def _eigenbasis(d: int, o: int) -> int:
    """Numbers that a Kronecker product keeps once it has solved: eigenvectors, eigenvalues, and inverses of those."""
    return d * d + o * o + d + o + 2 * d * o


def _rotations(layout: cv.Layout, d: int, o: int, r_d: int, r_o: int) -> float:
    """Into a basis of r_d × r_o vectors, and back."""
    read = d * r_d + o * r_o  # twice each, and nothing written
    return 4.0 * (o * r_o * d + r_o * d * r_d) + layout.elementwise(d * o + read)


def ekfac_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """The eigenvectors, thin where examples are few, and as many eigenvalues as they make."""
    if not layout.is_gauss_newton or method.previous is not None:
        return None
    total = _layers(layout, method.max_dense, lambda total, layer: _corrected(total, layout, layer, method.sharing == "reduce"))
    return total.cost(layout, layout.layer_values * (1 if layout.is_single else 2), cv.Detail.FITTED_FACTORS)


def _corrected(total: Total, layout: cv.Layout, layer: Any, reduced: bool) -> None:
    d, o, n, columns = layer.d_in, layer.d_out, layout.examples, layout.columns
    positions = n * layer.positions
    thin = layout.is_single and layer.kind != "grouped" and not (reduced and layer.positions > 1 and layer.kind == "affine")
    r_d = positions if thin and positions < d and layer.kind != "embedding" else d
    r_o = positions * columns if thin and positions * columns < o else o
    statistics = _basis(layout, positions * columns, o, r_o)
    if layer.kind == "embedding":
        statistics += 2.0 * positions * columns * o * r_o + layout.elementwise(positions * columns * r_o)
        total.add(statistics, 0.0, 4.0 * d * o * r_o, o * r_o + d * r_o, d * r_o + (r_o < o))
        return
    statistics += _basis(layout, positions, d, r_d)
    if layer.is_unshared:
        rotations = 2.0 * n * d * r_d * (r_d == d) + 2.0 * n * columns * o * r_o * (r_o == o)
        statistics += rotations + layout.elementwise(n * columns * r_o) + 2.0 * n * r_d * r_o
    else:
        gradients = 2.0 * positions * (o * r_o + r_d * r_o) + layout.elementwise(n * r_d * r_o)
        statistics += 2.0 * positions * d * r_d + columns * gradients
    inverses = r_d * r_o + (r_d < d or r_o < o)
    total.add(statistics, 0.0, _rotations(layout, d, o, r_d, r_o), d * r_d + o * r_o + r_d * r_o, inverses)


def _basis(layout: cv.Layout, rows: int, d: int, r: int) -> float:
    """The eigenvectors of a factor: of its d × d matrix, or of fewer rows."""
    if r == d:
        return layout.gram(rows, d) + layout.eigh(d)
    return layout.qr(d, r) + layout.eigh(r) + 2.0 * d * r * r + 4.0 * r**3


def nearest_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """K-FAC's factors, and two contractions for each iteration; of one product."""
    if not layout.is_gauss_newton or method.rank > 1 or method.projection != "none":
        return None
    steps = min(method.iterations, ITERATIONS)

    def factored(total: Total, layer: Any) -> None:
        d, o, n, columns = layer.d_in, layer.d_out, layout.examples, layout.columns
        start = layout.gram(n * layer.positions, d)
        if layer.is_unshared:
            contraction = 3.0 * n * d * d + 3.0 * n * columns * o * o + layout.elementwise(n * (d + columns * o))
        else:
            gradients = 2.0 * n * columns * layer.positions * d * o
            contraction = 2.0 * gradients + 3.0 * n * columns * d * o * (d + o)
        _factors(total, layout, layer, False)
        total.statistics += start + steps * contraction - _grams(layout, layer)

    total = _layers(layout, method.max_dense, factored)
    passes = layout.layer_values * (1 if layout.is_single else 1 + 2 * steps)
    return total.cost(layout, passes, cv.Detail.FITTED_FACTORS)


def shampoo_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """L and R of each matrix; where a side is longer than ``max_dense`` its diagonal, and the eigenvectors of the other."""
    if not layout.is_gauss_newton or any(layer.kind in ("mixed", "general") for layer in layout.layers):
        return None
    largest = method.max_dense
    total = _layers(layout, largest, lambda total, layer: _sides(total, layout, layer, largest, method.exponent))
    return total.cost(layout, layout.layer_values, cv.Detail.FACTORS)


def _sides(total: Total, layout: cv.Layout, layer: Any, largest: int, exponent: float) -> None:
    d, o, n, columns = layer.d_in, layer.d_out, layout.examples, layout.columns
    dense_d, dense_o = d <= largest and layer.kind != "embedding", o <= largest
    if layer.is_unshared or layer.kind == "embedding":
        statistics = layout.gram(n * columns * layer.positions, o) * dense_o + layout.gram(n, d) * dense_d
    else:
        gradients = 2.0 * n * columns * layer.positions * d * o + layout.elementwise(n * columns * d * o)
        statistics = gradients + layout.gram(n * columns * o, d) * dense_d + layout.gram(n * columns * d, o) * dense_o
    bases = (layout.eigh(d) if dense_d else 0.0) + (layout.eigh(o) if dense_o else 0.0)
    numbers = d * d * dense_d + o * o * dense_o
    solve = _rotations(layout, d, o, d, o)
    if dense_d and dense_o and exponent == 1:
        total.add(statistics, bases, solve, numbers, _eigenbasis(d, o))
    else:
        total.add(statistics, bases, solve, numbers + d * o, d * o)


def tridiagonal_cost(method: Any, layout: cv.Layout) -> cv.Cost | None:
    """K-FAC's factors, and those of the couplings of neighbours; a damped solve is dense, or iterative."""
    found = kfac_cost(method, layout)
    if found is None:
        return None
    chain = [layer for layer in layout.layers if layer.is_matrix]
    pairs = [(a, b) for a, b in pairwise(chain) if a.is_unshared and b.is_unshared]
    numbers = sum(a.d_in * b.d_in + a.d_out * b.d_out for a, b in pairs)
    solving = sum(a.d_in**2 + a.d_out**2 for a, _ in pairs)
    moments = 2.0 * layout.examples * sum(a.d_in * b.d_in + layout.columns * a.d_out * b.d_out for a, b in pairs)
    inverses = sum(layout.eigh(b.d_in) + layout.eigh(b.d_out) for _, b in pairs)
    product = sum(2.0 * _rotations(layout, layer.d_in, layer.d_out, layer.d_in, layer.d_out) for layer in chain)
    size = layout.parameters
    solve = size * product + layout.cholesky(size) + layout.elementwise(size**2) if size <= DENSE else PRODUCTS * product
    held = sum(layer.d_in**2 + layer.d_out**2 for layer in chain)
    own = found.bytes - layout.nbytes(held)
    return cv.Cost(
        flops_statistics=found.flops_statistics + moments,
        flops_build=inverses,
        flops_solve=solve,
        bytes=own + layout.nbytes(held + numbers),
        bytes_solving=layout.nbytes(solving),
        detail=cv.Detail.COUPLED_LAYERS,
    )
