"""The closure of ``torch.optim`` as an objective of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import curvature as cv
from curvature.optim import Loss


class LoopLoss(Loss):
    """The loss of a training loop: that of the data, or what its closure returns while there is one."""

    def __init__(self) -> None:
        self._closure: Callable[[], Any] | None = None
        self._module: nn.Module | None = None
        self._own: Mapping[str, Tensor] = {}
        self._first: tuple[Tensor, Any] | None = None
        self._trusted = False

    @contextmanager
    def of(self, closure: Callable[[], Any] | None, loss: Any, module: nn.Module, own: Mapping[str, Tensor]) -> Iterator[None]:
        """Within a step: ``closure`` is the loss, a function of the module's parameters ``own``, and ``loss`` its value now."""
        self._closure, self._module, self._own = closure, module, own
        self._first = None if closure is None else (loss, {name: p.detach().clone() for name, p in own.items()})
        try:
            yield
        finally:
            self._closure, self._module, self._own, self._first = None, None, {}, None

    def value(self, problem: cv.Problem) -> Tensor:
        """The loss at ``problem.params``.

        Raises:
            DataError: for a closure that returns two values at the same parameters, when one is asked for the first time.
        """
        if self._closure is None:
            return super().value(problem)
        if not self._trusted and self._first is not None:
            loss, params = self._first
            once, again = loss, self._at(params, problem.model.dtype)
            noise = 1e3 * torch.finfo(again.dtype).eps * float(torch.maximum(once.abs(), again.abs()))
            if torch.isfinite(once) and not float((once - again).abs()) <= noise:
                raise cv.DataError(
                    f"the closure returned {float(once)} and then {float(again)} at the same parameters, so that the losses "
                    f"before and after a step cannot be compared: is there dropout (model.eval()), or another batch at "
                    f"each call? Else write optimizer.step((x, y)), or take a damping and a learning_rate that are numbers"
                )
            self._trusted = True
        return self._at(problem.params, problem.model.dtype)

    def _at(self, params: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        assert self._closure is not None
        assert self._module is not None
        with _kept(self._own, self._module), torch.enable_grad():
            with torch.no_grad():
                for name, parameter in self._own.items():
                    parameter.copy_(params[name])
            return number(self._closure(), dtype)


def number(loss: Any, dtype: torch.dtype) -> Tensor:
    """A loss as a 0-d tensor without history."""
    return torch.as_tensor(loss).detach().to(dtype).reshape(())


@contextmanager
def _kept(own: Mapping[str, Tensor], module: nn.Module) -> Iterator[None]:
    """Parameters, gradients and buffers are after it what they were before."""
    parameters, buffers = list(module.parameters()), list(module.buffers())
    values = [p.detach().clone() for p in own.values()]
    gradients = [p.grad for p in parameters]
    states = [b.detach().clone() for b in buffers]
    for p in parameters:
        p.grad = None  # so that a closure that sets gradients to zero in place does not write into them
    try:
        yield
    finally:
        with torch.no_grad():
            for array, before in zip([*own.values(), *buffers], [*values, *states], strict=True):
                array.copy_(before)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
