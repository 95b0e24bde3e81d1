"""-Δu = 2π² sin(πx) sin(πy) on the unit square with u = 0 on its boundary; u* = sin(πx) sin(πy).

A network 2-32-1 (129 parameters), residuals on the 30 × 30 points of a grid in the interior and on 30 points of each side, error
on a 60 × 60 grid; the problem of Müller and Zeinhofer (2023), "Achieving high accuracy with PINNs via energy natural gradients".
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .poisson import PoissonProblem


def grid(number: int, ends: bool) -> np.ndarray:
    """A grid of number × number points in the unit square, with or without its boundary."""
    line = np.linspace(0, 1, number) if ends else np.linspace(0, 1, number + 2)[1:-1]
    return np.stack([side.ravel() for side in np.meshgrid(line, line, indexing="ij")], axis=1)


class Problem(PoissonProblem):
    """See the module's docstring."""

    name = "poisson-2d"
    summary = "PINN for the Poisson equation on the unit square, network 2-32-1 (129 parameters), 900 + 120 points, float64"
    targets = (1e-2, 1e-4, 1e-5, 1e-6, 1e-7)
    budget = 30.0
    sizes = (2, 32, 1)

    def place(self, rng: np.random.Generator) -> None:
        line = np.linspace(0, 1, 30)
        zero, one = np.zeros(30), np.ones(30)
        sides = [np.stack(pair, axis=1) for pair in ((line, zero), (line, one), (zero, line), (one, line))]
        self.interior = jnp.asarray(grid(30, ends=False))
        self.boundary = jnp.asarray(np.concatenate(sides))
        self.points = jnp.asarray(grid(60, ends=True))

    def solution(self, x: Any) -> Any:
        return jnp.prod(jnp.sin(jnp.pi * x))

    def forcing(self, x: Any) -> Any:
        return 2 * jnp.pi**2 * self.solution(x)
