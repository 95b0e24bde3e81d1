"""What geodesic acceleration solves for."""

from __future__ import annotations

from typing import Any

import jax

import curvature as cv

Array = Any
Tree = Any


def bending_force(matrix: cv.GaussNewtonMatrix, batch: cv.Batch, direction: Tree) -> Tree:
    """Jᵀ S Sᵀ f''(v, v), summed with the weights of the loss, for one batch: a params tree.

    f''(v, v) is taken forward over forward. Source: Transtrum and Sethna (2012).
    """
    problem = matrix.problem
    space, xp = problem.space, problem.xp
    point, tangent = space.flatten(problem.params), space.flatten(direction)

    def outputs(leaves: list[Array]) -> Array:
        return problem.outputs(space.unflatten(leaves), batch)

    def slope(leaves: list[Array]) -> Array:
        return jax.jvp(outputs, (leaves,), (tangent,))[1]

    second = jax.jvp(slope, (point,), (tangent,))[1]
    value, pull = jax.vjp(outputs, point)
    image = matrix.output_map(value, problem.targets(batch), batch)(second)
    weights = xp.full((batch.size,), 1.0 / batch.size, dtype=image.dtype) if batch.weights is None else batch.weights
    return space.unflatten(pull(image * (weights / xp.sum(weights))[:, None])[0])
