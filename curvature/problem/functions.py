"""What is differentiated: the outputs and the loss of a model, as functions of parameters and data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ..autodiff import Traced, lift
from ..backend import Keyed, namespace
from ..errors import ModelError
from ..likelihoods import Likelihood
from ..trees import leaves

Array = Any
Tree = Any

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


def loss_function(model: Any, likelihood: Likelihood, size: int, has_inputs: bool) -> Keyed:
    """(params, (x, y, weights)) -> Σ w_n ℓ_n / Σ w_n, y in the form that the likelihood takes."""
    apply = model.apply

    def loss(params: Tree, data: Any) -> Array:
        x, y, weights = data
        outputs = as_matrix(applied(apply, params, x), _examples(x, size), has_inputs, likelihood)
        return mean_loss(likelihood, outputs, y, weights)

    return Keyed(loss, ("loss", _identity(likelihood), size, has_inputs), model.compiled)


def likelihood_function(model: Any, likelihood: Likelihood, name: str) -> Keyed:
    """((outputs, …), None) -> a method of the likelihood on them."""
    return Keyed(lambda arrays, _: getattr(likelihood, name)(*arrays), (name, _identity(likelihood)), model.compiled)


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


def _identity(likelihood: Likelihood) -> Hashable:
    """What two likelihoods share if they compute the same: class and plain attributes; otherwise the object itself."""
    attributes = tuple(sorted(vars(likelihood).items()))
    if all(type(value) in _PLAIN for _, value in attributes):
        return (type(likelihood), attributes)
    return likelihood
