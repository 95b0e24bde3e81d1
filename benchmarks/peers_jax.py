"""The unit of the table on JAX: loss and gradient as one would write them there, compiled."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from networks import Network


def gradient(network: Network, device: str | None = None) -> Callable[[], object]:
    """``jax.jit(jax.value_and_grad(loss))`` of the network in plain JAX."""
    place = jax.devices(device)[0] if device else None
    params = jax.device_put(network.parameters(), place)
    x, y = (jax.device_put(array, place) for array in network.data())

    def loss(params: list, x: jax.Array, y: jax.Array) -> jax.Array:
        for index, (layer, stride) in enumerate(zip(params, network.strides, strict=True)):
            if stride:
                axes = ("NCHW", "OIHW", "NCHW")
                x = jax.lax.conv_general_dilated(x, layer["weight"], (stride, stride), [(1, 1), (1, 1)], dimension_numbers=axes)
                x = x + layer["bias"][:, None, None]
            else:
                x = jnp.reshape(x, (x.shape[0], -1)) @ layer["weight"].T + layer["bias"]
            x = jax.nn.relu(x) if index < len(params) - 1 else x
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1))

    compiled = jax.jit(jax.value_and_grad(loss))
    return lambda: compiled(params, x, y)
