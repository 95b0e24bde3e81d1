"""One forward pass of a batch: its loss, gradient and what enters and leaves every layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ..backend import Keyed
from ..errors import FallbackWarning, ShapeError
from .functions import mean_loss
from .general import example_gradients
from .layer_values import LayerValues
from .memory import guarded
from .proof import find_layers, require_separate_examples
from .structure import Layers, signature

if TYPE_CHECKING:
    from .batch import Batch
    from .problem import Problem

Array = Any
Tree = Any
T = TypeVar("T")


def _partial_squares(values: LayerValues) -> Array:
    """What is summed over the columns of a factor for ``LayerValues.squared_gradient``."""
    return values.squared_cotangents() if values.is_unshared else values.squared_gradient()


def _completed_squares(values: LayerValues, total: Array) -> Array:
    """``LayerValues.squared_gradient`` from that sum."""
    return values.squared_from(total) if values.is_unshared else total


class Evaluation:
    """f(x_n, θ) for the examples of a batch, with everything kept that a backward pass needs.

    Attributes:
        problem, batch: what was evaluated.
        outputs: (N, C).
        y: the targets as the likelihood takes them.
        requests: how many statistics are taken from it now.
    """

    def __init__(self, problem: Problem, batch: Batch) -> None:
        self.problem = problem
        self.batch = batch
        with guarded(problem, batch):
            self._uses = problem.recorded(batch)
        self.outputs = self._uses.outputs
        self.y = problem.targets(batch)
        self._shared: dict[Hashable, Any] | None = None
        self.requests = 1

    def share(self, requests: int) -> None:
        """Keep what ``once`` makes, until ``forget``, for several statistics that are taken of this evaluation."""
        self.requests = requests
        if self._shared is None:
            self._shared = {}

    def forget(self) -> None:
        """Let go of what was shared."""
        self.requests, self._shared = 1, None

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, kept under ``key`` while the evaluation is shared."""
        if self._shared is None:
            return make()
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found

    @property
    def weights(self) -> Array | None:
        """Weights of the examples with sum 1, (N,), or None for 1/N each."""
        if self.batch.weights is None:
            return None
        return self.batch.weights * (1.0 / self.problem.weight(self.batch))

    def loss(self) -> Array:
        """Mean loss of the batch."""
        return mean_loss(self.problem.likelihood, self.outputs, self.y, self.batch.weights)

    @cached_property
    def _score(self) -> Array:
        return self.problem.of_outputs("score")(self.outputs, self.y)

    def gradient(self) -> Tree:
        """Gradient of the mean loss of the batch, by one backward pass."""
        weights = self.weights
        share = -1.0 / self.batch.size if weights is None else -weights[:, None]
        return self._uses.pull(self._score * share)

    @cached_property
    def structure(self) -> Layers:
        """The layers, proven once for each model and shape; all batches of a problem must agree on them."""
        turn = next(self.problem.model.evaluations)
        if turn < 10 or turn % 10 == 0:
            require_separate_examples(self.problem, self.batch, self.outputs, turn)
        known = self.problem.model.known_structures
        key = signature(self._uses, self.batch.size)
        # One example proves nothing of the axis of examples: what more examples have shown goes first.
        found = known.get((key, True)) or (known.get((key, False)) if self.batch.size == 1 else None)
        if found is None:
            found = find_layers(self.problem, self.batch, self._uses)
            known[key, self.batch.size > 1] = found
            self.problem.warn_unused(found.unused)
        return self.problem.agree_on(found, self.batch)

    def squared_gradients(self, factor: Array) -> dict[str, Array]:
        """``{layer.name: LayerValues.squared_gradient()}`` with a few columns of ``factor`` at a time.

        Only Σ_r g² is kept between columns, so the memory is that of one gradient, and what is small stays in the cache.
        """
        step, count = max(1, self.problem.backend.columns_at_once), int(factor.shape[2])
        if any(layer.kind == "general" for layer in self.structure.layers):
            step = count  # their gradients are found once for all columns
        if step >= count:
            return self.each_layer(self.layers(factor), LayerValues.squared_gradient, "squared gradient")
        sums: dict[str, Array] = {}
        values: list[LayerValues] = []
        for start in range(0, count, step):
            values = self.layers(factor[:, :, start : start + step])
            for name, part in self.each_layer(values, _partial_squares, "partial squares").items():
                sums[name] = sums[name] + part if name in sums else part
        return self.each_layer(values, _completed_squares, "completed squares", sums)

    def each_layer(
        self, values: Sequence[LayerValues], statistic: Callable[..., Tree], key: Hashable, extra: dict[str, Tree] | None = None
    ) -> dict[str, Tree]:
        """{layer.name: statistic(values of the layer)}, compiled where the backend does so and ``key`` is given.

        Args:
            key: what ``statistic`` depends on; None if that is not known.
            extra: a further argument of ``statistic`` for each layer.
        """
        names = [value.layer.name for value in values]
        if key is None:
            further = [() if extra is None else (extra[name],) for name in names]
            return {name: statistic(value, *more) for name, value, more in zip(names, values, further, strict=True)}
        templates = tuple(value.template for value in values)

        def of_arrays(arrays: Tree, data: None) -> dict[str, Tree]:
            filled = [(template.filled(part), *more) for template, (part, *more) in zip(templates, arrays, strict=True)]
            return {name: statistic(*given) for name, given in zip(names, filled, strict=True)}

        keyed = Keyed(of_arrays, ("statistics", key, templates), self.problem.model.compiled)
        given = [[value.arrays] if extra is None else [value.arrays, extra[value.layer.name]] for value in values]
        result: dict[str, Tree] = self.problem.backend.evaluate(keyed.on(None), given)
        return result

    def layers(self, factor: Array) -> list[LayerValues]:
        """For every layer its inputs and the output cotangents of the columns of ``factor``.

        Args:
            factor: S (N, C, R), one output cotangent for each example and column.

        Parameters of ``general`` layers come with the gradients of each example instead; that is slow for many
        examples, and said with a ``FallbackWarning``.
        """
        xp = self.problem.xp
        n, c = (int(d) for d in self.outputs.shape)
        if factor.ndim != 3 or tuple(factor.shape[:2]) != (n, c):
            raise ShapeError(f"an output factor has shape (N, C, R) = ({n}, {c}, R), got {tuple(factor.shape)}")
        structure = self.structure
        if any(layer.kind != "general" for layer in structure.layers):
            cotangents = self._uses.cotangents(xp.permute_dims(factor, (2, 0, 1)))
        general = [layer for layer in structure.layers if layer.kind == "general"]
        used = [layer for layer in general if layer.weight not in structure.unused]
        if used and self.batch.x is not None:
            reasons = "; ".join(f"{layer.weight!r}: {layer.reason}" for layer in used)
            warnings.warn(f"gradients of each example are taken by themselves for {reasons}", FallbackWarning, stacklevel=3)
        gradients = example_gradients(self, [layer.weight for layer in used], factor) if used else {}
        for name in structure.unused:
            size = self.problem.space.sizes[self.problem.space.index(name)]
            gradients[name] = xp.zeros((n, size, factor.shape[2]), dtype=factor.dtype, device=self.problem.backend.device)
        values = []
        for layer in structure.layers:
            if layer.kind == "general":
                values.append(LayerValues(layer, (), gradients[layer.weight], self.weights, self.problem.backend))
            else:
                uses = [(self._uses.uses[i], cotangents[i]) for i in layer.uses]
                values.append(LayerValues(layer, uses, None, self.weights, self.problem.backend))
        return values
