"""``torch.nn.Module`` as a model: its parameters out, and trained ones back in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

import curvature as cv


def adapt(model: Any, output: Any) -> cv.Model | None:
    """The ``curvature.Model`` of a module, or None for anything else.

    Its parameters are a flat dictionary from the module's own names (``layers.0.weight``) to the parameters that require
    gradients; frozen ones are constants. A parameter with several names (tied weights) has the first of them and stays
    tied. The arrays share the module's memory, so they follow an optimiser that works in place on it; nothing here ever
    writes to them. Buffers have the values, and every part the mode (train, eval), that they have when the model is called;
    what a call writes into buffers is dropped. Inputs that are a dictionary are keyword arguments, a tuple or a list are
    positional ones, None is a call without arguments.

    Args:
        model: the object.
        output: which part of what the module returns are its outputs, see ``curvature.as_model``.

    Raises:
        ModelError: a module that cannot be called with other parameters, or that changes them, named with the remedy.
        DataError: no parameter requires gradients, or one is complex.
        MixedBackendError: parameters of two dtypes or devices.
    """
    if not isinstance(model, nn.Module):
        return None
    module = _unwrapped(model)
    _check(module)
    params = trainable(module)

    def apply(params: Mapping[str, Tensor], x: Any) -> Tensor:
        positional, named = _arguments(x)
        buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
        returned = torch.func.functional_call(module, {**buffers, **params}, positional, named)
        return cv.outputs_of(returned, output)

    return cv.Model(apply, params)


def update(module: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Write parameters, such as trained ones, into the module that they came from, in place.

    Args:
        module: the module that was adapted.
        params: all of its parameters that require gradients, by name, as ``curvature.as_model(module).params`` has them.

    Raises:
        ModelError: names or shapes other than the module's.
    """
    own = trainable(_unwrapped(module))
    missing, unknown = sorted(set(own) - set(params)), sorted(set(params) - set(own))
    if missing or unknown:
        raise cv.ModelError(
            f"params are not those of the {type(module).__name__}: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}"
        )
    for name, parameter in own.items():
        if params[name].shape != parameter.shape:
            raise cv.ModelError(f"parameter {name!r} has shape {tuple(parameter.shape)}, the new one {tuple(params[name].shape)}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(params[name])


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """Parameters that require gradients, each once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of wrappers that compile it or spread it over devices."""
    while True:
        compiled = getattr(module, "_orig_mod", None)  # torch.compile
        if isinstance(compiled, nn.Module):
            module = compiled
        elif isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        else:
            return module


def _arguments(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if x is None:
        return (), {}
    if isinstance(x, Mapping):
        return (), dict(x)
    return (tuple(x) if isinstance(x, (tuple, list)) else (x,)), {}


def _check(module: nn.Module) -> None:
    """Refuse what could only be wrong."""
    name = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise cv.ModelError(f"{name} is scripted, so it cannot be called with other parameters; pass the module it was made of")
    for path, array in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(array, (UninitializedParameter, UninitializedBuffer)):
            raise cv.ModelError(f"{path!r} of {name} has no shape yet; call the module once on an example: module(x)")
        if array.is_meta:
            raise cv.ModelError(f"{path!r} of {name} is on the meta device and has no values; load them first")
    if not trainable(module):
        raise cv.DataError(f"no parameter of {name} requires gradients; module.requires_grad_() unfreezes all of them")
    for path, part in module.named_modules():
        if not isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
            continue
        if part.max_norm is not None and part.weight.requires_grad:
            raise cv.ModelError(
                f"{path or name!r} has max_norm, which rewrites its weight whenever it is called; set max_norm = None "
                f"(and scale the rows once)"
            )
        if part.scale_grad_by_freq:
            raise cv.ModelError(
                f"{path or name!r} has scale_grad_by_freq, with which torch returns something other than the derivative; "
                f"set scale_grad_by_freq = False"
            )
