"""The inverse curvature in front of any optimiser of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

import curvature as cv
from curvature.optim import Refresh, State

from .followed import Followed
from .inputs import Inputs


def precondition(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    likelihood: cv.Likelihood,
    approximation: Any = "kfac",
    *,
    damping: float = 1e-2,
    keep_norm: bool = False,
    fisher: Any = "auto",
    decay: float = 0.95,
    statistics_every: int = 1,
    refresh_every: int | Refresh = 1,
    output: Any = None,
    reduction: Literal["mean", "sum"] = "mean",
    seed: int = 0,
) -> Preconditioning:
    """Let an optimiser see g ← (F̂ + λI)⁻¹ g in place of ``p.grad``, at each of its steps.

    One line more in a training loop, after the optimiser is made::

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        curvature_torch.precondition(optimizer, model, curvature.Categorical())

    F̂ is taken on the inputs with which the model was called and that ``backward`` came through; its targets are not needed.
    A closure given to ``step`` is called by the optimiser as ever, and its gradients are preconditioned.

    Args:
        optimizer: the optimiser; its parameters that belong to the model are preconditioned, others left alone.
        model: the module that is trained, called as it is (not by parts of it).
        likelihood: whose -log p is the loss of the loop.
        approximation: F̂.
        damping: λ.
        keep_norm: scale the result so that its norm, for each parameter group, is that of the gradient: learning rates that
            suit the optimiser by itself then still do.
        fisher: which matrix is approximated: "auto", "exact", "monte-carlo".
        decay: of the moving average of its statistics.
        statistics_every: steps between updates of the statistics.
        refresh_every: steps between refreshes of the operator built from them, or a rule.
        output: which part of what the model returns are its outputs, see ``curvature.as_model``.
        reduction: whether the loop's loss is the "mean" over the examples or their "sum".
        seed: of the Monte Carlo draws.

    Returns:
        A handle; its ``remove()`` ends it.

    Raises:
        DataError: for what does not fit, here and in ``optimizer.step``.
        UnsupportedError: for LBFGS, which makes a curvature of its own from differences of gradients.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise cv.DataError(f"optimizer is a torch.optim.Optimizer, got a {type(optimizer).__name__}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise cv.UnsupportedError("LBFGS makes a curvature of its own from the gradients themselves; precondition SGD or Adam")
    if fisher not in ("auto", "exact", "monte-carlo"):
        raise cv.DataError(f"fisher is 'auto', 'exact' or 'monte-carlo', which need no targets, got {fisher!r}")
    core = cv.NaturalGradient(
        approximation,
        fisher=fisher,
        damping=damping,
        learning_rate=1.0,
        decay=decay,
        statistics_every=statistics_every,
        refresh_every=refresh_every,
        seed=seed,
    )
    if core.options.damping is None or core.options.damping.interval:
        raise cv.DataError(f"damping is a number ≥ 0, since the loss is not looked at, got {damping!r}")
    followed = Followed(model, likelihood, output, reduction)
    own = [p for group in optimizer.param_groups for p in group["params"] if id(p) in followed.names]
    if not own:
        raise cv.DataError(f"the optimiser has no parameter of the {type(followed.module).__name__}")
    return Preconditioning(optimizer, model, followed, core, statistics_every, keep_norm=keep_norm)


class Preconditioning:
    """What ``precondition`` returns: ``remove()`` ends it."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        followed: Followed,
        core: cv.NaturalGradient,
        every: int,
        *,
        keep_norm: bool,
    ) -> None:
        self._followed = followed
        self._core = core
        self._every = every
        self._keep_norm = keep_norm
        self._state: State | None = None
        self._names: tuple[str, ...] = ()
        self._inputs = Inputs(model, followed.module, followed.output, ", or remove() the handle")
        self._handles = [self._inputs.attach(model, self), optimizer.register_step_pre_hook(self._before)]

    def remove(self) -> None:
        """Leave the gradients to the optimiser again."""
        for handle in self._handles:
            handle.remove()
        self._inputs.clear()

    def _before(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a step: at once, or when its closure has made the gradients."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._apply(optimizer)
            return None

        def preconditioned() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._apply(optimizer)
            return loss

        if "closure" in kwargs:
            return args, {**kwargs, "closure": preconditioned}
        return (args[0], preconditioned, *args[2:]), kwargs

    def _apply(self, optimizer: torch.optim.Optimizer) -> None:
        chosen = self._followed.chosen(optimizer.param_groups)
        chosen = {name: p for name, p in chosen.items() if p.grad is not None}
        if not chosen:
            return
        with self._followed.aside(self._inputs):
            found = self._solved(chosen)
        self._inputs.clear()
        for group in optimizer.param_groups:
            self._write({name: p for name, p in chosen.items() if any(p is q for q in group["params"])}, found)

    def _solved(self, chosen: Mapping[str, nn.Parameter]) -> Mapping[str, Tensor]:
        """(F̂ + λI)⁻¹ g: minus the step of a natural gradient whose learning rate is one."""
        params = {name: p.detach().clone() for name, p in chosen.items()}
        gradient = {name: p.grad.to_dense() if p.grad.is_sparse else p.grad for name, p in chosen.items() if p.grad is not None}
        data = None
        if self._state is None or self._names != tuple(chosen) or self._state.step % self._every == 0:
            data = self._followed.unlabelled(params, self._inputs.take())
        if self._state is None or self._names != tuple(chosen):
            self._state, self._names = self._core.init(self._followed.problem(params, data)), tuple(chosen)
        _, self._state, _ = self._core.step(params, self._state, data, gradient=gradient, loss=0.0)
        update: Mapping[str, Tensor] = self._state.velocity
        return {name: -array for name, array in update.items()}

    def _write(self, chosen: Mapping[str, nn.Parameter], found: Mapping[str, Tensor]) -> None:
        if not chosen:
            return
        scale: Any = 1.0
        if self._keep_norm:
            before = torch.stack([p.grad.norm() for p in chosen.values() if p.grad is not None]).norm()
            after = torch.stack([found[name].norm() for name in chosen]).norm()
            scale = torch.where(after > 0, before / after, torch.ones_like(after))
        for name, parameter in chosen.items():
            parameter.grad = found[name] * scale if self._keep_norm else found[name]
