"""-Δu = π² Σ_i cos(πx_i) on [0, 1]⁵ with u = u* on its boundary; u* = Σ_i cos(πx_i).

A network 5-64-1 (449 parameters), residuals on 3000 random points of the interior and 500 of the boundary, which are fixed by the
seed, error on 30,000 other ones; the problem of Dangel, Müller and Zeinhofer (2024), "Kronecker-factored approximate curvature
for physics-informed neural networks", who draw new points in every step.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .poisson import PoissonProblem


class Problem(PoissonProblem):
    """See the module's docstring."""

    name = "poisson-5d"
    summary = "PINN for the Poisson equation on [0, 1]⁵, network 5-64-1 (449 parameters), 3000 + 500 random points, float64"
    targets = (1e-1, 1e-2, 1e-3, 1e-4)
    budget = 120.0
    sizes = (5, 64, 1)

    def place(self, rng: np.random.Generator) -> None:
        dimension = self.sizes[0]
        boundary = rng.uniform(size=(500, dimension))
        boundary[np.arange(500), rng.integers(0, dimension, 500)] = rng.integers(0, 2, 500)
        self.interior = jnp.asarray(rng.uniform(size=(3000, dimension)))
        self.boundary = jnp.asarray(boundary)
        self.points = jnp.asarray(rng.uniform(size=(30_000, dimension)))

    def solution(self, x: Any) -> Any:
        return jnp.sum(jnp.cos(jnp.pi * x))

    def forcing(self, x: Any) -> Any:
        return jnp.pi**2 * self.solution(x)
