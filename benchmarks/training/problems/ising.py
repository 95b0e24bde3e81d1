"""Ground state of the periodic transverse-field Ising chain H = -J Σ_i σᶻ_i σᶻ_{i+1} - h Σ_i σˣ_i, n spins, J = h = 1.

The wave function is a real restricted Boltzmann machine with as many hidden units as spins,

    log ψ_θ(s) = Σ_i a_i s_i + Σ_j log cosh(b_j + W_j·s),   s ∈ {-1, 1}^n,

and nothing is sampled: all 2^n configurations are summed. With the weights p(s) = ψ(s)² / Σ ψ² and the local energies
E(s) = (Hψ)(s) / ψ(s), the energy, its gradient and the Fisher information of p are

    E(θ) = Σ_s p(s) E(s),   ∇E = 2 Cov_p(E(s), ∇log ψ(s)),   F = 4 Cov_p(∇log ψ(s)).

The ground state has the energy E0 = -2 / sin(π / 2n). The error is (E(θ) - E0) / |E0|.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .base import VectorProblem


def configurations(n: int) -> np.ndarray:
    """All (2^n, n) of ±1; number k has spin i down where bit i of k is set."""
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return 1.0 - 2.0 * bits


def ground_energy(n: int) -> float:
    """E0 for J = h = 1, by free fermions (Pfeuty 1970)."""
    return -2 / math.sin(math.pi / (2 * n))


class Problem(VectorProblem):
    """See the module's docstring.

    Attributes:
        spins: all configurations (2^n, n).
        bonds: Σ_i s_i s_{i+1} of each.
        flipped: numbers of those that differ from each in one spin, (2^n, n).
    """

    name = "ising"
    summary = "ground state of the transverse-field Ising chain, 12 spins, RBM with 168 parameters, all configurations, float64"
    measured = "relative energy error"
    targets = (1e-2, 1e-3, 1e-4)
    budget = 20.0

    def __init__(self, seed: int = 0, device: str = "cpu", n: int = 12) -> None:
        super().__init__(seed, device)
        spins = configurations(n)
        self.n, self.ground = n, ground_energy(n)
        self.spins = jnp.asarray(spins)
        self.bonds = jnp.asarray(np.sum(spins * np.roll(spins, -1, axis=1), axis=1))
        self.flipped = jnp.asarray(np.arange(2**n)[:, None] ^ (1 << np.arange(n)))
        rng = np.random.default_rng(seed)
        tree = {name: jnp.asarray(0.01 * rng.standard_normal(shape)) for name, shape in (("a", n), ("b", n), ("W", (n, n)))}
        theta, self.unravel = ravel_pytree(tree)
        self.start = np.asarray(theta)
        self._energy = jax.jit(lambda theta: self.energy(self.unravel(theta)))
        self.energy_and_gradient = jax.jit(jax.value_and_grad(self.energy))

    def log_psi(self, params: dict[str, Any], s: Any) -> Any:
        """log ψ (N,) of configurations (N, n)."""
        return s @ params["a"] + jnp.sum(_log_cosh(s @ params["W"].T + params["b"]), axis=1)

    def weights_and_local_energies(self, params: dict[str, Any]) -> tuple[Any, Any]:
        """p(s) and E(s) of all configurations, (2^n,) each."""
        log_psi = self.log_psi(params, self.spins)
        local = -self.bonds - jnp.sum(jnp.exp(log_psi[self.flipped] - log_psi[:, None]), axis=1)
        return jax.nn.softmax(2 * log_psi), local

    def energy(self, params: dict[str, Any]) -> Any:
        """E(θ), whose derivative is the gradient above."""
        weights, local = self.weights_and_local_energies(params)
        return jnp.sum(weights * local)

    def objective(self, theta: Any) -> Any:
        return self.energy(self.unravel(theta))

    def measure(self, params: Any) -> dict[str, float]:
        energy = float(self._energy(params))
        return {"error": (energy - self.ground) / abs(self.ground), "energy": energy}


def _log_cosh(x: Any) -> Any:
    return jnp.logaddexp(x, -x) - math.log(2)
