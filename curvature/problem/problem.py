"""A problem: a model, a likelihood and data, hence one number, the loss."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

from ..backend import Backend, Closure, Keyed, ParameterUses
from ..errors import DataError, ModelError, UnusedParameterWarning
from ..likelihoods import Likelihood
from ..trees import ParameterSpace
from .batch import Batch, Data
from .evaluation import Evaluation
from .functions import Function, likelihood_function, loss_function, outputs_function
from .memory import guarded
from .model import Model, as_model
from .report import UsesReport
from .structure import Layers, Structure
from .trial import try_model

Array = Any
Tree = Any


class Problem:
    """L(θ) = Σ_n w_n ℓ_n / Σ_n w_n (``reduction="mean"``) or Σ_n w_n ℓ_n (``"sum"``), ℓ_n = -log p(y_n | f(x_n, θ)).

    Every curvature matrix of a problem is that of this very number.

    Args:
        model: a ``Model``, ``(apply, params)``, or an object that a plugin adapts.
        likelihood: p(y | outputs).
        data: a batch ``(x, y)`` or ``(x, y, weights)``, or a re-iterable of batches (list, DataLoader, …). ``x`` is None for
            a model without inputs.
        reduction: "mean" or "sum".

    Raises:
        DataError: data that cannot be (empty, NaN, labels out of range): which example.
        ModelError: outputs of a shape that does not fit.
        MixedBackendError: data of another library than the parameters'.
    """

    def __init__(
        self,
        model: Any,
        likelihood: Likelihood,
        data: Any,
        *,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise DataError(f"reduction is 'mean' or 'sum', got {reduction!r}")
        given: Any = likelihood
        if not isinstance(given, Likelihood):
            shown = f"{given.__name__}()" if isinstance(given, type) else "curvature.Categorical(), for example"
            raise DataError(f"a likelihood is an instance of curvature.Likelihood, got {given!r}; pass {shown}")
        self.model: Model = as_model(model)
        self.likelihood = likelihood
        self.reduction = reduction
        self.data = Data(data, self.model.backend, self.model.dtype, self.model.device)
        self._total_weight: Any = None
        self._layers: Layers | None = None
        self._kept: Evaluation | None = None
        self._keeps = False
        if self.data.single is not None:
            try_model(self, self.data.single)

    # Parts --------------------------------------------------------------------------------------------

    @property
    def params(self) -> Tree:
        """The parameters at which everything is taken."""
        return self.model.params

    @property
    def backend(self) -> Backend:
        """The backend of the parameters."""
        return self.model.backend

    @property
    def space(self) -> ParameterSpace:
        """Names and shapes of the parameters."""
        return self.model.space

    @property
    def xp(self) -> Any:
        """The Array API namespace of the parameters."""
        return self.backend.xp

    def at(self, params: Tree = None, data: Any = None, *, keep: bool = False) -> Problem:
        """The same problem at other parameters or on other data.

        Args:
            keep: keep the forward pass of a single batch, so that loss, gradient and statistics share it. It holds the
                memory of a backward pass for as long as the new problem lives.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.model = self.model if params is None else self.model.with_params(params)
        if data is not None:
            other.data = Data(data, self.backend, self.model.dtype, self.model.device)
            other._total_weight = None
            if other.data.single is not None:
                try_model(other, other.data.single)
        other._kept, other._keeps, other._layers = None, keep, None
        return other

    def to(self, backend: str | Backend, *, device: Any = None, dtype: str | None = None) -> Problem:
        """The same problem on another backend, device or dtype: parameters are copied now, batches as they are asked for.

        Raises:
            UnsupportedError: if the model is bound to its library.
            PrecisionError: if the target cannot hold the dtype.
        """
        model = self.model.to(backend, device=device, dtype=dtype)
        data = self.data.to(model.backend, dtype)
        return Problem(model, self.likelihood, data, reduction=self.reduction)

    def batches(self) -> Iterator[Batch]:
        """The batches that count, checked: those of weight zero are left out."""
        single = self.data.single
        if single is not None:
            yield single
            return
        empty = True
        for batch in self.data:
            if batch.weights is not None and self._is_masked(batch):
                continue
            empty = False
            try_model(self, batch)
            yield batch
        if empty:
            raise DataError("the weights of all examples are zero")

    def _is_masked(self, batch: Batch) -> bool:
        weight = self.weight(batch)
        return not self.backend.is_abstract(weight) and not weight > 0

    def weight(self, batch: Batch) -> Any:
        """Σ w_n of a batch, a Python number (an array while a program is being compiled): N without weights."""
        if batch.weights is None:
            return float(batch.size)
        if not batch.sums:
            total = self.xp.sum(batch.weights)
            if self.backend.is_abstract(total):
                return total
            batch.sums.append(float(total))  # a device is asked once
        return batch.sums[0]

    def recorded(self, batch: Batch) -> ParameterUses:
        """Evaluate the outputs of a batch, and how each parameter entered."""
        return self.backend.parameter_uses(self._outputs_keyed(batch), self.params, batch.x)

    def uses(self) -> UsesReport:
        """How every parameter enters the model: its layer, its kind, and why if it takes the general path."""
        return UsesReport.of(self)

    @property
    def total_weight(self) -> Any:
        """Σ w_n of all the data (one pass over it, once)."""
        if self._total_weight is None:
            total = sum(self.weight(batch) for batch in self.batches())
            if not self.backend.is_abstract(total) and not total > 0:
                raise DataError("the weights of all examples are zero")
            self._total_weight = total
        return self._total_weight

    @property
    def scale(self) -> Any:
        """What the average over examples is multiplied by: 1 for a mean, Σ w_n for a sum."""
        return 1.0 if self.reduction == "mean" else self.total_weight

    # Outputs ------------------------------------------------------------------------------------------

    def _outputs_keyed(self, batch: Batch) -> Keyed:
        return outputs_function(self.model, self.likelihood, batch.size, batch.x is not None)

    def outputs_of(self, batch: Batch) -> Closure:
        """θ ↦ f(θ) (N, C), to be differentiated."""
        return self._outputs_keyed(batch).on(batch.x)

    def loss_of(self, batch: Batch) -> Function:
        """θ ↦ Σ w_n ℓ_n / Σ w_n of one batch, to be differentiated."""
        loss = loss_function(self.model, self.likelihood, batch.size, batch.x is not None)
        return loss((batch.x, self.targets(batch), batch.weights))

    def of_outputs(self, name: str) -> Callable[..., Array]:
        """A method of the likelihood as a function of arrays (outputs, …), compiled where the backend does so."""
        likelihood = self.likelihood
        method: Callable[..., Array] = getattr(likelihood, name)
        if getattr(type(likelihood), name) is getattr(Likelihood, name):
            return method  # derived: by derivatives, which backends compile themselves, or by drawing
        function = likelihood_function(self.model, likelihood, name)
        return lambda *arrays: self.backend.evaluate(function, arrays)

    def outputs(self, params: Tree, batch: Batch) -> Array:
        """f(θ) as (N, C), differentiable in ``params``."""
        return self.outputs_of(batch)(params)

    def mean_loss(self, params: Tree, batch: Batch) -> Array:
        """Σ w_n ℓ_n / Σ w_n of one batch, differentiable in ``params``."""
        return self.loss_of(batch)(params)

    def targets(self, batch: Batch) -> Array:
        """The targets of a batch as the likelihood takes them, checked once against the outputs' shape."""
        known = batch.checked.get(id(self.likelihood))  # by object, which need not be hashable
        if known is None:
            known = batch.checked[id(self.likelihood)] = (self.likelihood, self._checked_targets(batch))
        return known[1]

    def _checked_targets(self, batch: Batch) -> Array:
        xp, y = self.xp, batch.y
        try_model(self, batch)
        event = self.model.tried[batch.form]
        if self.likelihood.flattens and y.ndim > 2 and tuple(y.shape[1:]) != event:
            raise DataError(
                f"batch {batch.index}: targets of shape {tuple(y.shape)} do not fit outputs of shape "
                f"({batch.size}, {', '.join(map(str, event))})"
            )
        one = xp.zeros((1, 1), dtype=self.model.dtype, device=self.backend.device)
        try:
            return self.likelihood.check(xp.broadcast_to(one, (batch.size, math.prod(event))), y)
        except DataError as error:
            raise DataError(f"batch {batch.index}: {error}") from None

    # The number and its gradient ----------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> Evaluation:
        """One forward pass of a batch, from which loss, gradient and layer statistics follow."""
        if not self._keeps or self.data.single is not batch:
            return Evaluation(self, batch)
        if self._kept is None:
            self._kept = Evaluation(self, batch)
        return self._kept

    def evaluations(self) -> Iterator[tuple[Evaluation, float]]:
        """(evaluation, share of the total weight) of every batch."""
        single = self.data.single
        if single is not None:
            yield self.evaluate(single), 1.0
            return
        for batch in self.batches():
            yield self.evaluate(batch), self.weight(batch) / self.total_weight

    def loss(self) -> Array:
        """L(θ), a 0-d array."""
        if self._keeps:
            return sum(share * e.loss() for e, share in self.evaluations()) * self.scale
        total = 0.0
        for batch in self.batches():
            with guarded(self, batch):
                total = total + self.backend.evaluate(self.loss_of(batch), self.params) * self.share(batch)
        return total

    def gradient(self) -> Tree:
        """∇L(θ), a params tree."""
        return self.loss_and_gradient()[1]

    def loss_and_gradient(self) -> tuple[Array, Tree]:
        """(L(θ), ∇L(θ)) from one pass."""
        if self._keeps:
            parts = [(e.loss(), e.gradient(), share * self.scale) for e, share in self.evaluations()]
        else:
            parts = [(*self._value_and_gradient(batch), self.share(batch)) for batch in self.batches()]
        value, total = 0.0, None
        for loss, gradient, share in parts:
            arrays = self.space.flatten(gradient)
            if share != 1.0:
                loss, arrays = loss * share, [array * share for array in arrays]
            value = loss if total is None else value + loss
            total = arrays if total is None else [a + b for a, b in zip(total, arrays, strict=True)]
        assert total is not None
        return value, self.space.unflatten(total)

    def _value_and_gradient(self, batch: Batch) -> tuple[Array, Tree]:
        with guarded(self, batch):
            return self.backend.value_and_gradient(self.loss_of(batch), self.params)
        raise AssertionError  # for type checkers, which take it that ``guarded`` may suppress errors

    def share(self, batch: Batch) -> Any:
        """What the mean loss of a batch counts for in L."""
        if self.data.single is not None:
            return self.scale
        return self.weight(batch) / self.total_weight * self.scale

    # Structure ----------------------------------------------------------------------------------------

    @property
    def structure(self) -> Structure:
        """How the parameters enter the model: layers, their weights and biases (found on the first batch, then known)."""
        return Structure(self.space, self.backend, self._find_layers)

    def _find_layers(self) -> Layers:
        if self._layers is None:
            self.evaluate(next(self.batches())).structure  # noqa: B018  (it is kept here)
        assert self._layers is not None
        return self._layers

    def agree_on(self, found: Layers, batch: Batch) -> Layers:
        """The layers of all batches.

        Raises:
            ModelError: if a batch has others than the first, naming the parameters.
        """
        if self._layers is None:
            self._layers = found
        if found.layers is not self._layers.layers:
            ours, theirs = ({(x.name, x.kind) for x in layers.layers} for layers in (self._layers, found))
            if ours != theirs:
                names = ", ".join(sorted({name for name, _ in ours ^ theirs}))
                raise ModelError(
                    f"batch {batch.index}: {names} enter the model in another way than in an earlier batch, so statistics of "
                    f"the two cannot be joined; make the model treat all batches alike, or take one batch"
                )
        return found

    def layers(self, batch: Batch, factor: Array) -> list[Any]:
        """For each use of parameters in a batch: its inputs a and the output cotangents g of ``factor`` (N, C, R)."""
        return self.evaluate(batch).layers(factor)

    def warn_unused(self, names: tuple[str, ...]) -> None:
        """Say which parameters do not enter the model."""
        if names:
            warnings.warn(
                f"the model does not use {', '.join(map(repr, names))}: their rows of any curvature matrix are zero",
                UnusedParameterWarning,
                stacklevel=3,
            )

    def __repr__(self) -> str:
        return f"Problem({self.model!r}, {self.likelihood!r}, reduction={self.reduction!r})"
