"""``torch.nn.Module`` as a model: its parameters out, and trained ones back in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

import curvature as cv

from .originals import refuse_originals, remember
from .support import nodes_below


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
    remember(params.items())
    watched = [True]  # until the first call whose graph is there

    def apply(params: Mapping[str, Tensor], x: Any) -> Tensor:
        positional, named = _arguments(x)
        buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
        with _plain_layers(), _without_randomness(module), _without_checkpoints(first=bool(watched)):
            returned = torch.func.functional_call(module, {**buffers, **params}, positional, named)
        outputs = cv.outputs_of(returned, output)
        if watched and isinstance(outputs, Tensor) and outputs.requires_grad:
            refuse_originals([outputs])
            if any(type(node).__name__.startswith("CheckpointFunction") for node in nodes_below([outputs])):
                raise cv.ModelError(_CHECKPOINTED)
            watched.clear()
        return outputs

    return cv.Model(apply, params)


@contextmanager
def _plain_layers() -> Iterator[None]:
    """Without the fused layers of torch's transformer, which run without gradients alone and treat padding in another way."""
    mha = torch.backends.mha
    wanted = mha.get_fastpath_enabled()
    if not wanted:
        yield
        return
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(True)


_CHECKPOINTED = (
    "the module uses torch.utils.checkpoint, whose backward pass evaluates parts of the module again with the parameters that it "
    "holds itself, whatever parameters it is called with; switch checkpointing off (in transformers: "
    "model.gradient_checkpointing_disable())"
)


@contextmanager
def _without_checkpoints(*, first: bool) -> Iterator[None]:
    """Around a call of the module.

    Raises:
        ModelError: it uses torch.utils.checkpoint: the backward pass would evaluate parts of it again after the call, and so
            with the parameters that the module itself holds.
    """
    with warnings.catch_warnings() if first else nullcontext():
        if first:  # the reentrant kind only says, once, that there will be no gradients
            warnings.filterwarnings("error", message="None of the inputs have requires_grad=True")
        try:
            with torch.autograd.graph.disable_saved_tensors_hooks(_CHECKPOINTED):
                yield
        except (RuntimeError, UserWarning) as error:
            if not isinstance(error, UserWarning) and str(error) != _CHECKPOINTED:
                raise
            raise cv.ModelError(_CHECKPOINTED) from error


@contextmanager
def _without_randomness(module: nn.Module) -> Iterator[None]:
    """Around a call of the module.

    Raises:
        ModelError: it drew random numbers, so that two calls are of two models.
    """
    states = _random_states(module)
    yield
    if any(not torch.equal(a, b) for a, b in zip(states, _random_states(module), strict=True)):
        drawing = [path or type(part).__name__ for path, part in module.named_modules() if part.training and _can_drop(part)]
        named = f" ({', '.join(drawing[:3])})" if drawing else ""
        raise cv.ModelError(
            f"{type(module).__name__} draws random numbers when it is called: is dropout in training mode{named}? Put it in "
            f"evaluation mode: module.eval()"
        )


def _random_states(module: nn.Module) -> list[Tensor]:
    states = [torch.random.get_rng_state()]
    device = next((p.device for p in module.parameters()), None)
    if device is not None and device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _can_drop(part: nn.Module) -> bool:
    return any(float(getattr(part, name, 0.0) or 0.0) > 0 for name in ("p", "dropout") if _is_number(getattr(part, name, None)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


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
