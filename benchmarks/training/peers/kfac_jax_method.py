"""K-FAC of kfac-jax with its own rules for damping, learning rate and momentum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import kfac_jax
import numpy as np

WARM = 6
"""Steps that compile all there is to compile; the damping is adapted in every fifth."""


def run(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Adaptive in all three, on minibatches."""
    activation = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[problem.activation]

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        for number, layer in enumerate(params):
            x = x @ layer["weight"] + layer["bias"]
            x = x if number in problem.linear else activation(x)
        if problem.name == "curves":
            kfac_jax.register_multi_bernoulli_predictive_distribution(x, y)
            value = jnp.sum(jnp.logaddexp(x, 0) - y * x) / y.shape[0]
        else:
            kfac_jax.register_softmax_cross_entropy_loss(x, y)
            value = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1))
        return value + 0.5 * problem.l2 * sum(jnp.sum(p * p) for p in jax.tree.leaves(params))

    optimizer = kfac_jax.Optimizer(
        value_and_grad_func=jax.value_and_grad(loss),
        l2_reg=problem.l2,
        value_func_has_aux=False,
        use_adaptive_learning_rate=True,
        use_adaptive_momentum=True,
        use_adaptive_damping=True,
        initial_damping=settings["initial_damping"],
        multi_device=False,
    )

    def steps() -> Any:
        """One step for each value that is asked for, from the start."""
        batches = _minibatches(problem, settings["batch"])
        params = jax.tree.map(jnp.array, problem.layers)
        key = jax.random.PRNGKey(problem.seed)
        state = optimizer.init(params, key, next(batches))
        while True:
            key, part = jax.random.split(key)
            params, state, _ = optimizer.step(params, state, part, data_iterator=batches)
            yield params

    for _, params in zip(range(WARM), steps(), strict=False):
        jax.block_until_ready(params)
    trace.start(problem.layers)
    for params in steps():
        trace.step(jax.block_until_ready(params))


def _minibatches(problem: Any, size: int) -> Any:
    """As ``problem.minibatches``, without torch."""
    x, y = (jnp.asarray(part) for part in problem.arrays)
    rng = np.random.default_rng(problem.seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - size + 1, size):
            chosen = order[first : first + size]
            yield x[chosen], y[chosen]
