"""Natural gradient as a ``torch.optim.Optimizer``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

import curvature as cv
from curvature.optim import State, StepInfo

from . import loop_state
from .closures import LoopLoss, number
from .followed import Followed, as_data
from .inputs import Inputs
from .loop_checks import require_no_loss, rules_without_loss, warn_of_scale


class NaturalGradient(torch.optim.Optimizer):
    """θ ← θ + lr · (δ - α · weight_decay · θ), with δ and α of ``curvature.NaturalGradient`` for the gradient in ``p.grad``.

    Two lines of a training loop change::

        optimizer = curvature_torch.NaturalGradient(model, curvature.Categorical())
        for x, y in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step((x, y))

    The gradient is ``p.grad``, with whatever was done to it (accumulation, clipping, unscaling); parameters without one stay
    where they are. Curvature, damping and learning rate come from the data of the step. What may be given to it:

    - ``step((x, y))``, ``step(data=[(x1, y1), (x2, y2)])``: the data behind the gradient: a batch ``(x, y)`` or
      ``(x, y, weights)``, or a list of them.
    - ``step(closure)``: a function that zeroes the gradients, computes the loss, calls ``backward`` and returns the loss, as
      for ``torch.optim.LBFGS``. Its loss is what rules look at: it is called once more for each point that they try, whose
      gradients are dropped. Curvature is taken on the inputs of the calls of the model that ``backward`` came through.
    - both.
    - ``step()``: those inputs, and no loss. A damping that was left open is then constant, with a ``CurvatureWarning``; rules
      that were given and that look at the loss are refused.

    Dropout is off while curvature and the loss on ``data`` are computed. Layers that couple the examples of a batch (batch
    normalisation in training mode) are refused: ``model.eval()``, or their own ``eval()``. Where
    inputs are to be found, pass the model as the loop calls it (what ``torch.compile`` returned), and call it, not its parts.

    Attributes:
        info: what happened in the last step (``curvature.optim.StepInfo``; its loss is NaN where none is known), None before.

    Args:
        model: the module that is trained.
        likelihood: whose -log p is the loss of the loop: ``Categorical()`` for ``cross_entropy``, ``Bernoulli()`` for
            ``binary_cross_entropy_with_logits``, ``Gaussian(variance=C / 2)`` for ``mse_loss`` with C outputs.
        params: parameters, or groups of them, if not all of the model's that require gradients.
        approximation: of the Fisher information, see ``curvature.NaturalGradient``.
        lr: factor of a whole step, for schedulers and groups; α is chosen beside it (``learning_rate=``). The reduction ratio
            and the momentum are of the step with lr = 1. A scheduler may bring it to 0.
        weight_decay: decoupled weight decay (Loshchilov and Hutter 2019).
        output: which part of what the model returns are its outputs, see ``curvature.as_model``.
        reduction: whether the loop's loss is the "mean" over the examples or their "sum".
        options: further ones of ``curvature.NaturalGradient``: ``damping``, ``learning_rate``, ``momentum``, ``fisher``, …

    Raises:
        DataError: for what does not fit, here and in ``step``: which line to change.
        DivergedError: by ``step``, for a gradient or loss that is not finite and cannot be made up for by a higher damping, or
            for the third time in a row; the model then has the last good parameters.

    Sources: as ``curvature.NaturalGradient``.
    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: cv.Likelihood,
        *,
        params: Iterable[Any] | None = None,
        approximation: Any = "auto",
        lr: float = 1.0,
        weight_decay: float = 0.0,
        output: Any = None,
        reduction: Literal["mean", "sum"] = "mean",
        **options: Any,
    ) -> None:
        for name, instead in _ELSEWHERE.items():
            if name in options:
                raise cv.DataError(f"{name}= is not an option here: {instead}")
        self._followed = Followed(model, likelihood, output, reduction)
        self._loss = LoopLoss()
        self._options = {"approximation": approximation, **options}
        self._core = self._with_rules(without_loss=False)
        self._without_loss = False
        self._state: State | None = None
        self._names: tuple[str, ...] = ()
        self._pending: dict[str, Any] | None = None
        self.info: StepInfo | None = None
        own = [p for p in self._followed.module.parameters() if p.requires_grad] if params is None else params
        super().__init__(own, {"lr": lr, "weight_decay": weight_decay})
        self._inputs = Inputs(model, self._followed.module, output, ", or write optimizer.step((x, y))")
        self._inputs.attach(model, self)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters of the model; its statistics begin anew at the next step, its damping stays.

        Raises:
            DataError: parameters of no part of the model, or a learning rate or weight decay that cannot be.
        """
        super().add_param_group(param_group)
        try:
            added = self.param_groups[-1]
            for parameter in added["params"]:
                self._followed.name_of(parameter)
            if not _number(added["lr"]) > 0:
                raise cv.DataError(f"lr is a positive number, got {added['lr']!r}; requires_grad_(False) leaves parameters alone")
            _check(added)
        except cv.DataError:
            self.param_groups.pop()
            raise

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients, and the inputs behind them."""
        super().zero_grad(set_to_none)
        self._inputs.clear()

    def step(self, closure: Any = None, *, data: Any = None) -> Any:  # type: ignore[override]
        """One step; see the class.

        Args:
            closure: a function that gives the loss, or the data.
            data: the data behind the gradients.

        Returns:
            What the closure returned, or None.

        Raises:
            DataError: no gradients, or nothing to take curvature on; which line to change.
            DivergedError: see the class.
        """
        if closure is not None and not callable(closure):
            if data is not None:
                raise cv.DataError("step takes data once: step((x, y)), or step(closure, data=(x, y))")
            closure, data = None, closure
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            _check(group)
        chosen = self._followed.chosen(self.param_groups)
        if all(p.grad is None for p in chosen.values()):
            if closure is not None and loss is None:  # it skipped this batch
                return None
            raise cv.DataError("no parameter has a gradient; call loss.backward() before optimizer.step(...)")
        with self._followed.aside(self._inputs):
            labelled = data is not None
            given = as_data(data) if labelled else self._followed.unlabelled(_values(chosen), self._inputs.take())
            self._inputs.clear()
            self._advance(chosen, given, closure if loss is not None else None, loss, labelled=labelled)
        return loss

    def _advance(
        self, chosen: dict[str, nn.Parameter], data: Any, closure: Callable[[], Any] | None, loss: Any, *, labelled: bool
    ) -> None:
        unknown = closure is None and not labelled
        state = self._begun(chosen, data, unknown=unknown, labelled=labelled)
        params = _values(chosen)
        if unknown:
            loss = 0.0  # nobody looks at it: see _begun
        elif loss is not None:
            loss = number(loss, next(iter(params.values())).dtype)
        try:
            with self._loss.of(closure, loss, self._followed.module, chosen):
                moved, self._state, info = self._core.step(params, state, data, gradient=_gradients(chosen), loss=loss)
        except cv.DivergedError as error:
            if error.params is not None:
                self._write(chosen, error.params)
            raise
        if info.accepted:
            moved = self._scaled(chosen, params, moved, abs(info.learning_rate))
        self._write(chosen, moved)
        self.info = replace(info, loss=math.nan) if unknown else info

    def _begun(self, chosen: dict[str, nn.Parameter], data: Any, *, unknown: bool, labelled: bool) -> State:
        """The state for these parameters, with rules for which what the step knows is enough."""
        if self._state is None or self._state.plan is None or self._names != tuple(chosen):
            problem = self._followed.problem(_values(chosen), data)
            begun = self._resumed(problem) if self._pending is not None else self._started(problem, unknown=unknown)
            if self._state is None and self._pending is None and labelled:
                warn_of_scale(problem, _gradients(chosen))
            # A state holds the data of its start: two examples stand for them.
            few = next(problem.batches()).part(slice(0, 2))
            self._state = replace(begun, problem=problem.at(data=cv.Batch(few.x, few.y)))
            self._names, self._pending = tuple(chosen), None
        plan = self._state.plan
        if unknown and plan is not None:
            rules = {name: getattr(plan, name) for name in ("fisher", "damping", "learning_rate", "acceleration")}
            require_no_loss(rules, self._followed.likelihood)
        return self._state

    def _resumed(self, problem: cv.Problem) -> State:
        assert self._pending is not None
        self._core = self._with_rules(without_loss=self._without_loss)
        return self._core.load_state_dict(problem, self._pending)

    def _started(self, problem: cv.Problem, *, unknown: bool) -> State:
        self._core, self._without_loss = self._with_rules(without_loss=unknown), unknown
        begun = self._core.init(problem)
        if self._state is None:
            return begun
        # For other parameters than before statistics begin anew.
        return replace(begun, step=self._state.step, damping=self._state.damping)

    def _with_rules(self, *, without_loss: bool) -> cv.NaturalGradient:
        options = rules_without_loss(self._options, self._followed.likelihood) if without_loss else self._options
        return cv.NaturalGradient(**options, objective=self._loss, averaging=0.0)

    def _scaled(self, chosen: Mapping[str, nn.Parameter], params: Any, moved: Any, rate: float) -> dict[str, Tensor]:
        """The step with weight decay and lr of each group; exactly the core's where they are 0 and 1."""
        found = {}
        groups = {id(p): group for group in self.param_groups for p in group["params"]}
        for name, parameter in chosen.items():
            group, old, new = groups[id(parameter)], params[name], moved[name]
            lr, decay = _number(group["lr"]), _number(group["weight_decay"])
            if decay:
                new = new + old * ((1.0 - decay * rate) - 1.0)
            found[name] = old if parameter.grad is None else new if lr == 1 else old + (new - old) * lr
        return found

    @staticmethod
    def _write(chosen: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in chosen.items():
                parameter.copy_(values[name])

    # Files --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Groups and state, of tensors, numbers and strings only, as torch.load(..., weights_only=True) takes them.

        A run goes on from it bit for bit.
        """
        begun = self._state is not None and self._state.plan is not None
        core = self._core.state_dict(self._state) if begun else self._pending  # type: ignore[arg-type]
        named = loop_state.parameters(self._followed, self.param_groups)
        self.state[loop_state.KEY] = loop_state.packed(named, core, without_loss=self._without_loss)  # type: ignore[index]
        try:
            return super().state_dict()
        finally:
            self.state.clear()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a ``state_dict``.

        Raises:
            DataError: for a state of another optimiser, model or version, naming what differs; one of other rules is refused at
                the next step, when they are known.
        """
        named = loop_state.parameters(self._followed, self.param_groups)
        found = loop_state.checked(state_dict, named)
        super().load_state_dict(state_dict)
        self.state.clear()
        self._state, self._names, self.info = None, (), None
        self._pending = loop_state.core_of(found, next(iter(self._followed.module.parameters())).device)
        self._without_loss = bool(found["without_loss"])

    def __getstate__(self) -> dict[str, Any]:
        raise cv.UnsupportedError(
            "a copy of an optimiser would not belong to the model that it trains; make another for the copied model, and give it "
            "this one's state: new.load_state_dict(old.state_dict())"
        )


_ELSEWHERE = {
    "objective": "the objective of a training loop is its closure, optimizer.step(closure)",
    "averaging": "torch.optim.swa_utils.AveragedModel averages the parameters of a model",
}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _check(group: Mapping[str, Any]) -> None:
    for name in ("lr", "weight_decay"):
        if not 0 <= _number(group[name]) < math.inf:
            raise cv.DataError(f"{name} of a parameter group is a finite number ≥ 0, got {group[name]!r}")


def _values(chosen: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies, which a state may keep."""
    return {name: parameter.detach().clone() for name, parameter in chosen.items()}


def _gradients(chosen: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    found = {}
    for name, parameter in chosen.items():
        gradient = parameter.grad
        gradient = torch.zeros_like(parameter) if gradient is None else gradient.to_dense() if gradient.is_sparse else gradient
        found[name] = gradient.detach()
    return found
