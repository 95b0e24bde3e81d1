"""Physics-informed networks for -Δu = f on the unit cube with u = u* on its boundary: what both Poisson problems share.

The network u_θ has one hidden layer of tanh. With the residuals r_n = Δu_θ(x_n) + f(x_n), f = -Δu*, in the interior and
s_m = u_θ(x_m) - u*(x_m) on the boundary, least squares:

    L(θ) = ½ (mean_n r_n² + mean_m s_m²) = ½ ‖residuals(θ)‖²,

each residual divided by the root of how many of its kind there are. Δ is a sum of second derivatives, forward in forward mode.
The error is ‖u_θ - u*‖ / ‖u*‖ over points of evaluation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .base import VectorProblem


def glorot(rng: np.random.Generator, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Glorot-uniform weights (d_in, d_out) and zero biases, float64."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        bound = (6 / (inputs + outputs)) ** 0.5
        layers.append({"weight": jnp.asarray(rng.uniform(-bound, bound, (inputs, outputs))), "bias": jnp.zeros(outputs)})
    return layers


def network(params: list[dict[str, Any]], x: Any) -> Any:
    """u_θ at one point (d,) or at several (N, d), with a last axis of one."""
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ params[-1]["weight"] + params[-1]["bias"]


def laplacian(function: Any, x: Any) -> Any:
    """Δ of a scalar function at one point."""

    def second(direction: Any) -> Any:
        def first(z: Any) -> Any:
            return jax.jvp(function, (z,), (direction,))[1]

        return jax.jvp(first, (x,), (direction,))[1]

    return jnp.sum(jax.vmap(second)(jnp.eye(x.shape[0], dtype=x.dtype)))


class PoissonProblem(VectorProblem):
    """See the module's docstring.

    Attributes:
        interior, boundary, points: where residuals are taken and the error is measured.
    """

    measured = "relative L2 error"
    least_squares = True
    sizes: ClassVar[tuple[int, ...]]
    interior: Any
    boundary: Any
    points: Any

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(seed, device)
        self.place(np.random.default_rng([seed, 1]))
        theta, self.unravel = ravel_pytree(glorot(np.random.default_rng(seed), self.sizes))
        self.start = np.asarray(theta)
        exact = jax.vmap(self.solution)(self.points)
        self.source = jax.vmap(self.forcing)(self.interior)
        self.on_boundary = jax.vmap(self.solution)(self.boundary)

        def error(theta: Any) -> Any:
            found = network(self.unravel(theta), self.points)[:, 0]
            return jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)

        self._error, self._objective = jax.jit(error), jax.jit(self.objective)

    def place(self, rng: np.random.Generator) -> None:
        """Set ``interior``, ``boundary`` and ``points``."""
        raise NotImplementedError

    def solution(self, x: Any) -> Any:
        """u* at one point."""
        raise NotImplementedError

    def forcing(self, x: Any) -> Any:
        """f = -Δu* at one point."""
        raise NotImplementedError

    def inner(self, theta: Any, x: Any, f: Any) -> Any:
        """Δu_θ + f at one point."""
        return laplacian(lambda z: network(self.unravel(theta), z)[0], x) + f

    def outer(self, theta: Any, x: Any, value: Any) -> Any:
        """u_θ - u* at one point of the boundary."""
        return network(self.unravel(theta), x)[0] - value

    def _both(self, of: Any, theta: Any) -> Any:
        inner = jax.vmap(of(self.inner), (None, 0, 0))(theta, self.interior, self.source)
        outer = jax.vmap(of(self.outer), (None, 0, 0))(theta, self.boundary, self.on_boundary)
        return jnp.concatenate([inner / inner.shape[0] ** 0.5, outer / outer.shape[0] ** 0.5])

    def residuals(self, theta: Any) -> Any:
        """The residuals (N,), divided by the roots of their numbers."""
        return self._both(lambda f: f, theta)

    def jacobian(self, theta: Any) -> Any:
        """∂residuals/∂θ (N, P), by one backward pass for each point."""
        return self._both(jax.grad, theta)

    def objective(self, theta: Any) -> Any:
        return 0.5 * jnp.sum(self.residuals(theta) ** 2)

    def measure(self, params: Any) -> dict[str, float]:
        return {"error": float(self._error(params)), "loss": float(self._objective(params))}
