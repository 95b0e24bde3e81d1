"""The second derivative of the outputs along a direction, and what it pulls the parameters to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Backend, Keyed
from ..problem import Batch, Problem
from ..problem.functions import outputs_function
from ..trees import tree_map

if TYPE_CHECKING:
    from .gauss_newton import GaussNewtonMatrix

Array = Any
Tree = Any


def bending_force(matrix: GaussNewtonMatrix, direction: Tree) -> Tree:
    """Jᵀ S Sᵀ f''(v, v), summed with the weights of the loss: F Γ(v, v) of the outputs' geometry, a params tree."""
    problem, total = matrix.problem, None
    for batch in problem.batches():
        second = second_derivative(problem, batch, direction)
        outputs, pull = problem.backend.vjp(problem.outputs_of(batch), problem.params)
        middle = matrix.output_map(outputs, problem.targets(batch), batch)
        part = pull(matrix._weighted(batch, middle(second)))
        share = problem._share(batch)
        if share != 1.0:
            part = tree_map(lambda a, share=share: a * share, part)
        total = part if total is None else tree_map(lambda a, b: a + b, total, part)
    return total


def second_derivative(problem: Problem, batch: Batch, direction: Tree) -> Array:
    """f''(v, v) (N, C): the second derivative of the outputs along a params tree, forward over forward."""
    outputs = outputs_function(problem.model, problem.likelihood, batch.size, batch.x is not None)
    backend: Backend = problem.backend

    def second(point: Tree, x: Any) -> Array:
        params, tangent = point

        def first(p: Tree) -> Array:
            return backend.jvp(lambda q: outputs(q, x), p, tangent)[1]

        return backend.jvp(first, params, tangent)[1]

    keyed = Keyed(second, ("second derivative", outputs.key), problem.model.compiled)
    return backend.evaluate(keyed.on(batch.x), [problem.params, direction])
