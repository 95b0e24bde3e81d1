"""What is differentiated: the outputs and the loss of a model, as functions of parameters and data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any

import array_api_compat

from ..autodiff import Traced, lift
from ..backend import Closure, Keyed, namespace
from ..errors import ModelError
from ..likelihoods import Likelihood
from ..trees import leaves

Array = Any
Tree = Any
Function = Closure | Callable[[Any], Any]

_PLAIN = (bool, int, float, str, type(None))


def applied(apply: Callable[[Tree, Any], Any], params: Tree, x: Any) -> Any:
    """apply(params, x); all arrays are lifted where one is traced, so that code may take its namespace from any of them."""
    if any(isinstance(leaf, Traced) for leaf in leaves(params)):
        params, x = lift(params), None if x is None else lift(x)
    return apply(params, x)


def returned_function(model: Any) -> Keyed:
    """(params, x) -> what the model returns, as it is."""
    apply = model.apply
    return Keyed(lambda params, x: applied(apply, params, x), "returned", model.compiled)


def outputs_function(model: Any, likelihood: Likelihood, size: int, has_inputs: bool) -> Keyed:
    """(params, x) -> outputs (N, C)."""
    apply = model.apply

    def outputs(params: Tree, x: Any) -> Array:
        return as_matrix(applied(apply, params, x), _examples(x, size), has_inputs, likelihood)

    return Keyed(outputs, ("outputs", type(likelihood), size, has_inputs), model.compiled)


def loss_function(model: Any, likelihood: Likelihood, size: int, has_inputs: bool) -> Callable[[Tree], Function]:
    """(x, y, weights) -> (params -> Σ w_n ℓ_n / Σ w_n), y in the form that the likelihood takes."""
    apply, parts = model.apply, _parts(likelihood)

    def loss(params: Tree, data: Any) -> Array:
        (x, y, weights), arrays = data
        used = likelihood if arrays is None else _filled(likelihood, arrays)
        outputs = as_matrix(applied(apply, params, x), _examples(x, size), has_inputs, likelihood)
        return mean_loss(used, outputs, y, weights)

    if parts is None:
        return lambda data: lambda params: loss(params, (data, None))
    key, arrays = parts
    keyed = Keyed(loss, ("loss", key, size, has_inputs), model.compiled)
    return lambda data: keyed.on((data, arrays or None))


def likelihood_function(model: Any, likelihood: Likelihood, name: str) -> Callable[[Tree], Array] | Function:
    """A method of the likelihood as a function of the tuple of its arguments."""
    parts = _parts(likelihood)
    if parts is None:
        return lambda given: getattr(likelihood, name)(*given)
    key, arrays = parts

    def method(given: Tree, data: Any) -> Array:
        return getattr(likelihood if data is None else _filled(likelihood, data), name)(*given)

    return Keyed(method, (name, key), model.compiled).on(arrays or None)


def _examples(x: Any, size: int) -> int:
    """N of these inputs; ``size`` without inputs. (A backend may try a function with other numbers of examples.)"""
    arrays = leaves(x)
    return int(arrays[0].shape[0]) if arrays else size


def mean_loss(likelihood: Likelihood, outputs: Array, y: Array, weights: Array | None) -> Array:
    """Σ w_n ℓ_n / Σ w_n from outputs (N, C)."""
    xp = namespace(outputs)
    losses = likelihood.losses(outputs, y)
    if weights is None:
        return xp.mean(losses)
    return xp.sum(losses * weights) / xp.sum(weights)


def as_matrix(outputs: Any, size: int, has_inputs: bool, likelihood: Likelihood) -> Array:
    """The outputs of a model as (N, C).

    Raises:
        ModelError: if it is no array, or of a shape that does not fit.
    """
    if not hasattr(outputs, "shape"):
        raise ModelError(
            f"the model returned a {type(outputs).__name__}; it must return one array (curvature.as_model(model, output=...) "
            f"picks one)"
        )
    xp = namespace(outputs)
    if not has_inputs:
        flat = xp.reshape(outputs, (1, -1))
        return xp.broadcast_to(flat, (size, flat.shape[1]))
    if outputs.ndim == 0 or outputs.shape[0] != size:
        raise ModelError(
            f"the model returned outputs of shape {tuple(outputs.shape)} for {size} examples; examples lie on the first axis"
        )
    if outputs.ndim == 1:
        return xp.reshape(outputs, (size, 1))
    if outputs.ndim > 2:
        if not likelihood.flattens:
            raise ModelError(
                f"{type(likelihood).__name__} takes outputs (N, C), the model returned {tuple(outputs.shape)}; "
                f"make each position an example"
            )
        return xp.reshape(outputs, (size, -1))
    return outputs


def _parts(likelihood: Likelihood) -> tuple[Hashable, dict[str, Array]] | None:
    """What the likelihood computes, as a key and the arrays that it holds; None where that cannot be told.

    Its attributes may change while what was compiled stays: plain ones belong to the key, arrays are handed over at each
    call, and a likelihood that holds anything else (a dictionary, another object, slots) is never compiled.
    """
    kind = type(likelihood)
    if any("__slots__" in vars(base) and vars(base)["__slots__"] for base in kind.__mro__):
        return None
    plain: list[tuple[str, Any]] = []
    arrays: dict[str, Array] = {}
    for name, value in sorted(vars(likelihood).items()):
        if type(value) in _PLAIN:
            plain.append((name, value))
        elif array_api_compat.is_array_api_obj(value):
            arrays[name] = value
        else:
            return None
    return (kind, tuple(plain), tuple(arrays)), arrays


def _filled(likelihood: Likelihood, arrays: dict[str, Array]) -> Likelihood:
    """The likelihood with these arrays in place of its own."""
    other = copy.copy(likelihood)
    vars(other).update(arrays)
    return other
