"""What the contenders in JAX share on dense networks: the network, minibatches without torch, and what is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

WARM = 6
"""Steps that compile all there is to compile; damping is adapted in every fifth."""


def network(problem: Any) -> Callable[[Any, Any], Any]:
    """Outputs of a ``LayeredProblem`` as a function of layers and inputs."""
    activation = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[problem.activation]

    def apply(layers: Any, x: Any) -> Any:
        for number, layer in enumerate(layers):
            x = x @ layer["weight"] + layer["bias"]
            x = x if number in problem.linear else activation(x)
        return x

    return apply


def minibatches(problem: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """As ``problem.minibatches``: without end, each epoch in a new order."""
    x, y = (jnp.asarray(part) for part in problem.arrays)
    rng = np.random.default_rng(problem.seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - size + 1, size):
            chosen = order[first : first + size]
            yield x[chosen], y[chosen]


def timed(problem: Any, steps: Callable[[], Iterator[Any]], trace: Any) -> None:
    """Follow a run with the clock on, after one of ``WARM`` steps without; ``steps()`` gives the layers after each step."""
    for _, layers in zip(range(WARM), steps(), strict=False):
        jax.block_until_ready(layers)
    trace.start(problem.layers)
    for layers in steps():
        trace.step(jax.block_until_ready(layers))
