"""Affine maps, alone and in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..backend import namespace
from ..errors import ShapeError
from .checks import require_vector
from .kernels import kernel

Array = Any


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x Wᵀ + b.

    Args:
        x: (…, d_in).
        weight: W, (d_out, d_in).
        bias: b, (d_out,), or None.

    Returns:
        (…, d_out).

    Raises:
        ShapeError: the shapes do not fit.
        MixedBackendError: arrays of two libraries.
    """
    shape, given = tuple(weight.shape), tuple(x.shape)
    if len(shape) != 2:
        raise ShapeError(f"linear: the weight has shape {shape}, expected (d_out, d_in)")
    if not given or given[-1] != shape[1]:
        raise ShapeError(
            f"linear: the input has shape {given}, expected (…, {shape[1]}) for a weight {shape}, which is stored (d_out, d_in)"
        )
    require_vector(bias, shape[0], "linear: the bias")
    native = kernel("linear", x, weight, bias)
    if native is not None:
        return native(x, weight, bias)
    xp = namespace(x, weight, bias)
    # Functions rather than operators: some libraries refuse a traced right operand before it is asked.
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else xp.add(y, bias)


def layer(params: Mapping[str, Array], x: Array) -> Array:
    """``linear`` with parameters {"weight", "bias"}; the bias may be absent.

    Raises:
        ShapeError: there is no weight, or the shapes do not fit.
    """
    if "weight" not in params:
        raise ShapeError(f'a linear map has the parameters "weight" and, if it has one, "bias"; these are {sorted(params)}')
    return linear(x, params["weight"], params.get("bias"))


def mlp(params: Sequence[Mapping[str, Array]], x: Array, activation: Callable[[Array], Array]) -> Array:
    """A multilayer perceptron: affine maps with an activation between each two of them, none after the last.

    Args:
        params: of each map, {"weight": (d_out, d_in), "bias": (d_out,)}; a bias may be absent.
        x: (…, d_in).
        activation: a function of arrays, such as ``relu``.

    Raises:
        ShapeError: there is no map, or the shapes do not fit.
    """
    if len(params) == 0:
        raise ShapeError("mlp: the parameters are empty; give one mapping with a weight for each affine map")
    for hidden in params[:-1]:
        x = activation(layer(hidden, x))
    return layer(params[-1], x)
