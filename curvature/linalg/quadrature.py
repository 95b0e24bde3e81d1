"""Stochastic Lanczos quadrature: zᵀ f(A) z for random z, as Gauss quadrature over the spectrum that z sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .krylov import Krylov
from .map import Counted

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any
Functional = Callable[[Any, Any], Any]
"""(nodes (d,), weights (K, d)) ↦ values (K, …) on the host: what the rules of K probes give."""

BASIS_BYTES = 2**31
"""Memory that the basis of one Krylov space may take."""

WIDTH = 8
"""Probes that share one Krylov space."""


@dataclass(frozen=True)
class Rules:
    """The quadrature rules of K probes: zᵢᵀ f(A) zᵢ ≈ Σ_j weights_ij f(nodes_j), the weights of each adding up to n.

    ``values`` are those of the functional, ``change`` is how much (the norm of) their mean still changed.
    """

    nodes: Any
    weights: Any
    values: Any
    change: float
    settled: bool


def longest_basis(a: Counted) -> int:
    """How many columns a Krylov space may have."""
    itemsize = 4 if a.backend.xp.finfo(a.dtype).bits == 32 else 8
    return max(2 * WIDTH, BASIS_BYTES // (itemsize * max(1, a.shape[1])))


def lag(step: int) -> int:
    """How many steps back a result is compared: where k steps gain the digits that are asked for, k / 8 gain an eighth
    of them, so that the change over them is well above the error, however slow the method is.
    """
    return max(2, math.ceil(step / 8))


def is_checked(step: int) -> bool:
    """Whether the result is looked at after that many steps: always at first, then after each eighth more."""
    return step % max(1, step // 8) == 0


def quadrature(
    a: Counted,
    rng: Rng,
    functional: Functional,
    *,
    tolerance: float,
    width: int = WIDTH,
    products: int,
    ready: Callable[[Any, Any], None] = lambda nodes, weights: None,
) -> Rules:
    """Rules of ``width`` probes of random signs, with as many Lanczos steps as their mean value needs to settle.

    The block Krylov space of all of the probes serves each (Ubaru, Chen and Saad 2017, with the block variant of Golub and
    Meurant 2010). It has settled where ‖mean value - that of ``lag`` steps before‖ ≤ tolerance · ‖mean value‖.

    Args:
        products: how many may be spent.
        ready: looks at nodes and weights after each step, and may raise.
    """
    z = rng.rademacher((a.shape[1], width), dtype=a.dtype)
    space = Krylov(a, z)
    longest = min(longest_basis(a), products)
    history: list[tuple[int, Any]] = []
    step = 0
    while True:
        space.step()
        step += 1
        last = space.exhausted or space.dimension + space.width > longest
        if not (last or is_checked(step)):
            continue
        nodes, vectors, _ = space.eigh()
        weights = (space.first.T @ vectors[: space.first.shape[0]]) ** 2
        ready(nodes, weights)
        values = functional(nodes, weights)
        mean = np.mean(values, axis=0)
        before = [value for then, value in history if then <= step - lag(step)]
        change = float(np.linalg.norm(mean - before[-1])) if before else float("inf")
        if space.exhausted:
            change = 0.0
        settled = change <= tolerance * float(np.linalg.norm(mean))
        if settled or last:
            return Rules(nodes, weights, values, change, settled)
        history.append((step, mean))
