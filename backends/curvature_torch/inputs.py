"""The inputs behind the gradients that a module's parameters hold."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

import curvature as cv
from curvature.trees import leaves, tree_map


class Inputs:
    """A forward hook that keeps what a module was called with, once a backward pass has come through what it returned.

    So a validation leaves nothing behind, whatever its mode, and gradient accumulation leaves the inputs of every part. Calls
    with other parameters than the module's own (``torch.func.functional_call``) do not count. A copy of the module, pickled
    or deep, has a hook that keeps nothing.

    Args:
        module: the module that is called. inner: the one inside of its wrappers, whose parameters they are.
        output: which part of what it returns are its outputs, see ``curvature.as_model``.
        otherwise: what errors say that may be done instead.
    """

    def __init__(
        self, module: nn.Module | None = None, inner: nn.Module | None = None, output: Any = None, otherwise: str = ""
    ) -> None:
        self._module = None if module is None else weakref.ref(module)
        self._own = None if inner is None else _first_parameter(inner)
        self._output = output
        self._otherwise = otherwise
        self._paused = False
        self._kept: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def attach(self, module: nn.Module, owner: Any) -> torch.utils.hooks.RemovableHandle:
        """Begin; ends with ``owner`` or with the handle's ``remove()``."""
        handle = module.register_forward_hook(self, with_kwargs=True)
        weakref.finalize(owner, handle.remove)
        return handle

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> None:
        """After a call of the module."""
        if self._paused or self._module is None or module is not self._module() or not torch.is_grad_enabled():
            return
        if self._own is not None:
            owner, name, parameter = self._own
            if owner._parameters.get(name) is not parameter:
                return
        try:
            outputs = cv.outputs_of(returned, self._output)
        except cv.ModelError:  # for whoever needs the outputs, and then with this very message
            return
        if not (isinstance(outputs, Tensor) and outputs.requires_grad):
            return
        call = (tuple(map(_detached, args)), {name: _detached(value) for name, value in kwargs.items()})

        def reached(_: Tensor) -> None:
            if not self._paused and not any(call is kept for kept in self._kept):
                self._kept.append(call)

        outputs.register_hook(reached)

    def take(self) -> list[Any]:
        """The inputs x of a ``curvature`` batch, one for each call; then there are none.

        Raises:
            DataError: no call, or one whose arguments are no arrays of examples.
        """
        calls, self._kept = self._kept, []
        module = None if self._module is None else self._module()
        if not calls:
            raise cv.DataError(
                f"the {type(module).__name__} was not called since the last step in a way that backward() came through, so there "
                f"are no inputs to take its curvature on; call the module that was passed, not its parts{self._otherwise}"
            )
        return [_as_x(module, args, kwargs, self._otherwise) for args, kwargs in calls]

    def clear(self) -> None:
        """Forget them: their gradients are gone."""
        self._kept = []

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While calls are not of the training loop."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __reduce__(self) -> tuple[Any, ...]:
        return (Inputs, ())


def _first_parameter(module: nn.Module) -> tuple[nn.Module, str, nn.Parameter] | None:
    """(part, attribute, parameter) of the first one that requires gradients."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter.requires_grad:
                return part, name, parameter
    return None


def _detached(value: Any) -> Any:
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, value)


def _as_x(module: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any], otherwise: str) -> Any:
    """Arguments of a call in the form that an adapted module takes."""
    given = {name: value for name, value in kwargs.items() if value is not None}
    if args and given and module is not None:
        given = dict(signature(module.forward).bind(*args, **given).arguments)
        args = ()
    x: Any = given if given else args[0] if len(args) == 1 else args
    odd = [type(leaf).__name__ for leaf in leaves(x) if not isinstance(leaf, Tensor)]
    if odd or not leaves(x):
        what = f"a {odd[0]}" if odd else "nothing"
        raise cv.DataError(
            f"the model was called with {what} beside or instead of tensors of examples, which is no batch; "
            f"call it with those alone{otherwise}"
        )
    return x
