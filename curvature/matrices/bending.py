"""The second derivative of the outputs along a direction, and what it pulls the parameters to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import Backend, Keyed, namespace
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
        outputs, second = _outputs_and_second_derivative(problem, batch, direction)
        middle = matrix.output_map(outputs, problem.targets(batch), batch)
        part = _pulled_back(problem, batch, matrix._weighted(batch, middle(second)))
        share = problem.share(batch)
        if share != 1.0:
            part = tree_map(lambda a, share=share: a * share, part)
        total = part if total is None else tree_map(lambda a, b: a + b, total, part)
    return total


def second_derivative(problem: Problem, batch: Batch, direction: Tree) -> Array:
    """f''(v, v) (N, C): the second derivative of the outputs along a params tree, forward over forward."""
    return _outputs_and_second_derivative(problem, batch, direction)[1]


def _outputs_and_second_derivative(problem: Problem, batch: Batch, direction: Tree) -> list[Array]:
    outputs = outputs_function(problem.model, problem.likelihood, batch.size, batch.x is not None)
    backend: Backend = problem.backend

    def second(point: Tree, x: Any) -> list[Array]:
        params, tangent = point

        def first(p: Tree) -> list[Array]:
            return list(backend.jvp(lambda q: outputs(q, x), p, tangent))

        (value, _), (_, twice) = backend.jvp(first, params, tangent)
        return [value, twice]

    keyed = Keyed(second, ("second derivative", outputs.key), problem.model.compiled)
    found: list[Array] = backend.evaluate(keyed.on(batch.x), [problem.params, direction])
    return found


def _pulled_back(problem: Problem, batch: Batch, cotangent: Array) -> Tree:
    """Jᵀ u as the gradient of ⟨f, u⟩: one program, which keeps no residuals for a second one."""
    outputs = outputs_function(problem.model, problem.likelihood, batch.size, batch.x is not None)

    def product(params: Tree, data: Tree) -> Array:
        x, u = data
        value = outputs(params, x)
        return namespace(value).sum(value * u)

    keyed = Keyed(product, ("product with the outputs", outputs.key), problem.model.compiled)
    return problem.backend.value_and_gradient(keyed.on((batch.x, cotangent)), problem.params)[1]
