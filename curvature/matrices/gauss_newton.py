"""The one form of all Fisher-type matrices: E_n[J_nᵀ S_n S_nᵀ J_n]."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..problem import Batch, Evaluation, LayerValues
from ..problem.general import example_gradients
from ..problem.memory import guarded
from ..problem.transposes import forward_mode_is_right
from ..trees import tree_map
from .base import CurvatureMatrix
from .bending import bending_force

Array = Any
Tree = Any


class GaussNewtonMatrix(CurvatureMatrix):
    """Σ_n w_n J_nᵀ S_n S_nᵀ J_n, positive semidefinite. Subclasses differ in the output factor S alone.

    An approximation written against this class covers GGN, Fisher, Monte Carlo Fisher and empirical Fisher.
    Source: Martens (2020), "New insights and perspectives on the natural gradient method".
    """

    @abstractmethod
    def factor(self, outputs: Array, y: Array, batch: Batch) -> Array:
        """S (N, C, R) at given outputs (N, C)."""

    @abstractmethod
    def output_map(self, outputs: Array, y: Array, batch: Batch) -> Callable[[Array], Array]:
        """v ↦ S Sᵀ v for v (N, C); what does not depend on v is done once."""

    def columns(self, batch: Batch) -> int:
        """R, the columns of the output factor."""
        first = self.problem.evaluate(batch.part(slice(0, 1)))
        return int(self.factor(first.outputs, first.y, first.batch).shape[2])

    def output_factor(self, evaluation: Evaluation | Batch) -> Array:
        """S (N, C, R) of a batch (or of its evaluation) with the scale and the examples' weights put in.

        Σ_n J_nᵀ S_n S_nᵀ J_n is the matrix of the batch, of the problem's scale: sums over examples, no averages.
        """
        if isinstance(evaluation, Batch):
            evaluation = self.problem.evaluate(evaluation)
        return evaluation.once((self, "output factor"), lambda: self._output_factor(evaluation))

    def _output_factor(self, evaluation: Evaluation) -> Array:
        factor = self.factor(evaluation.outputs, evaluation.y, evaluation.batch)
        scale, weights = self.problem.scale, evaluation.weights
        if weights is None:
            return factor * (scale / evaluation.batch.size) ** 0.5
        return factor * self.xp.sqrt(weights * scale)[:, None, None]

    def average(self, statistic: Callable[[Evaluation], Tree]) -> Tree:
        """Average over the data of a statistic (a tree of arrays) that is itself an average over a batch."""
        total: Tree = None
        for evaluation, share in self.problem.evaluations():
            with guarded(self.problem, evaluation.batch):
                values = statistic(evaluation)
            if share != 1.0:
                values = tree_map(lambda a, share=share: a * share, values)
            total = values if total is None else tree_map(lambda a, b: a + b, total, values)
        return total

    def example_rows(self, evaluation: Evaluation) -> Array:
        """S_nᵀ J_n of all examples and parameters in the flat order, (N·R, P), by one program where the backend maps functions.

        For small models whose parameters enter in ways that are not known; with weights and scale as ``output_factor``.
        """
        factor, space, xp = self.output_factor(evaluation), self.problem.space, self.xp
        gradients = example_gradients(evaluation, space.names, factor)
        rows = xp.concat([gradients[name] for name in space.names], axis=1) if len(space.names) > 1 else gradients[space.names[0]]
        return xp.reshape(xp.permute_dims(rows, (0, 2, 1)), (-1, space.size))

    def bending_force(self, direction: Tree) -> Tree:
        """Jᵀ S Sᵀ f''(v, v), summed with the weights of the loss, for a params tree v: what geodesic acceleration solves for.

        f''(v, v) is the second derivative of the outputs along v. Source: Transtrum and Sethna (2012).
        """
        return bending_force(self, direction)

    def layer_values(self, evaluation: Evaluation) -> list[LayerValues]:
        """What enters and leaves each layer in one evaluation, with the columns of ``output_factor`` as cotangents."""
        return evaluation.once((self, "layer values"), lambda: evaluation.layers(self.output_factor(evaluation)))

    def of_layers(
        self, statistic: Callable[..., Tree], *, key: Hashable = None, extra: dict[str, Tree] | None = None
    ) -> Callable[[Evaluation], dict[str, Tree]]:
        """evaluation ↦ ``{layer.name: statistic(layer values)}``: what most approximations ask of the data.

        A method of ``curvature.estimate`` yields it and is sent its average over the data.

        Args:
            statistic: from ``LayerValues`` to a tree of arrays.
            key: what ``statistic`` depends on (the method, most often): then backends that compile do so, once for each key.
            extra: a further argument of ``statistic`` for each layer, by its name.
        """
        return lambda evaluation: evaluation.each_layer(self.layer_values(evaluation), statistic, key, extra)

    def layer_average(self, statistic: Callable[[Any], Tree], *, key: Hashable = None) -> dict[str, Tree]:
        """The average over the data of ``of_layers``, by a pass of its own."""
        return self.average(self.of_layers(statistic, key=key))  # type: ignore[no-any-return]

    def squared_gradients(self, evaluation: Evaluation) -> dict[str, Array]:
        """``{layer.name: LayerValues.squared_gradient()}``: the diagonal of the matrix of one evaluation.

        Alone, with a few columns of the output factor at a time; beside other requests, from the layer values that they share.
        """
        if evaluation.requests > 1:
            return evaluation.each_layer(self.layer_values(evaluation), LayerValues.squared_gradient, "squared gradient")
        return evaluation.squared_gradients(self.output_factor(evaluation))

    # Products -----------------------------------------------------------------------------------------

    def _weighted(self, batch: Batch, v: Array) -> Array:
        weights = batch.weights
        if weights is None:
            return v * (1.0 / batch.size)
        return v * (weights * (1.0 / self.problem.weight(batch)))[:, None]

    def _batch_products(self, batch: Batch, tangents: list[Tree]) -> list[Tree]:
        problem, backend = self.problem, self.backend

        outputs_of = problem.outputs_of(batch)
        if len(tangents) == 1 and forward_mode_is_right(problem, batch):
            outputs, pushed, pull = backend.jvp_and_pull(outputs_of, problem.params, tangents[0])
            y = problem.targets(batch)
            return [pull(self._weighted(batch, self.output_map(outputs, y, batch)(pushed)))]
        product = self._batch_map(batch)
        return [product(tangent) for tangent in tangents]

    def quadratic_forms(self, vectors: Sequence[Tree]) -> Array:
        """The matrix Vᵀ F V (k, k) for k params trees, by one forward derivative each: no backward pass."""
        xp, problem = self.xp, self.problem
        total: Any = None
        for batch in problem.batches():
            pushed, outputs_of = [], problem.outputs_of(batch)
            push: Callable[[Tree], Tree] | None = None
            if not forward_mode_is_right(problem, batch):
                outputs, push, _ = self.backend.linearize(outputs_of, problem.params)
            for vector in vectors:
                if push is None:
                    outputs, tangent = self.backend.jvp(outputs_of, problem.params, vector)
                else:
                    tangent = push(vector)
                pushed.append(tangent)
            y = problem.targets(batch)
            middle = self.output_map(outputs, y, batch)
            images = [self._weighted(batch, middle(t)) for t in pushed]
            rows = [xp.stack([xp.sum(left * right) for right in images]) for left in pushed]
            form = xp.stack(rows) * problem.share(batch)
            total = form if total is None else total + form
        return total

    def _batch_map(self, batch: Batch) -> Callable[[Tree], Tree]:
        problem = self.problem
        outputs, push, pull = self.backend.linearize(problem.outputs_of(batch), problem.params)
        middle = self.output_map(outputs, problem.targets(batch), batch)
        return lambda tangent: pull(self._weighted(batch, middle(push(tangent))))
