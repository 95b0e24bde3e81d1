"""K-FAC of kfac-jax with its own rules for damping, learning rate and momentum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import kfac_jax

from ..jax_layers import minibatches, network, timed


def run(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Adaptive in all three, on minibatches."""
    apply = network(problem)

    def loss(params: Any, batch: Any) -> Any:
        x, y = batch
        x = apply(params, x)
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
        batches = minibatches(problem, settings["batch"])
        params = jax.tree.map(jnp.array, problem.layers)
        key = jax.random.PRNGKey(problem.seed)
        state = optimizer.init(params, key, next(batches))
        while True:
            key, part = jax.random.split(key)
            params, state, _ = optimizer.step(params, state, part, data_iterator=batches)
            yield params

    timed(problem, steps, trace)
