"""Networks that are chains of affine layers with elementwise functions between them, and the slopes of these functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import curvature as cv
from curvature.backend import has_values

Array = Any

_LARGEST = 100.0
"""No elementwise function is taken to be steeper than that where its slope cannot be seen."""

PROBES = 2
"""Random cotangents: one gives the slopes, another shows that they are slopes."""


def refusal(layer: Any, why: str) -> cv.UnsupportedError:
    """Of a network that is no chain."""
    return cv.UnsupportedError(
        f"'kfra' passes one matrix from layer to layer through a chain of affine layers with elementwise functions between "
        f"them, and layer {layer.name!r} {why}; take 'kflr' or 'kfac'"
    )


def chain_of(layers: Sequence[Any]) -> list[Any]:
    """The layers in the order of their use.

    Raises:
        UnsupportedError: for a layer that is not affine, is used several times, or does not fit the one before it.
    """
    for layer in layers:
        if layer.kind != "affine":
            raise refusal(layer, f"is {layer.kind!r}")
        if len(layer.uses) != 1:
            raise refusal(layer, f"is used {len(layer.uses)} times")
    ordered = sorted(layers, key=lambda layer: layer.uses)
    for before, after in pairwise(ordered):
        if _sizes(before)[0] != _sizes(after)[1]:
            raise refusal(after, f"has {_sizes(after)[1]} inputs, the one before it {_sizes(before)[0]} outputs")
    return ordered


def _sizes(layer: Any) -> tuple[int, int]:
    """(d_out, d_in) of the weight."""
    rows, columns = layer.block.shapes[0]
    return (rows, columns) if layer.transposed else (columns, rows)


def weight_of(xp: Any, space: Any, leaves: Sequence[Array], layer: Any) -> Array:
    """W (d_out, d_in) of a layer."""
    weight = xp.reshape(leaves[space.index(layer.weight)], layer.block.shapes[0])
    return weight if layer.transposed else xp.matrix_transpose(weight)


def gives_the_outputs(evaluation: Any, last: Any) -> bool:
    """Whether the output of the last layer is that of the network: then the probes arrive at it as they were."""
    xp, probes, g = evaluation.problem.xp, _probes(evaluation), last.cotangents[:, 0, :, :]
    return tuple(g.shape) == tuple(probes.shape) and bool(xp.all(g == probes))


def slopes_of(evaluation: Any, layers: Sequence[Any]) -> tuple[list[Array], dict[str, Any]]:
    """φ'(s_l) (N, d_l) of all layers but the last; and the values of the layers for the probes.

    A cotangent at the output of layer l is g_l = φ' ∘ (g_{l+1} W_{l+1}), so φ' is their quotient. Where that is 0 / 0
    because nothing behind passes a gradient on (all units of a later layer are off), the later layers are replaced by
    some that do: φ' does not depend on them.

    Raises:
        UnsupportedError: where two cotangents disagree.
    """
    problem = evaluation.problem
    xp, space = problem.xp, problem.space
    if not has_values(evaluation.outputs):
        raise cv.UnsupportedError(
            "'kfra' must look at values to verify that the network is a chain of layers, which a program that is being "
            "compiled does not have; call curvature.approximate outside of it, or take 'kflr' or 'kfac'"
        )
    values, leaves = _values(evaluation), space.flatten(problem.params)
    found = []
    for position, layer in enumerate(layers[:-1]):
        weight = weight_of(xp, space, leaves, layers[position + 1])
        slopes, known = _quotient(xp, values[layer.name], values[layers[position + 1].name], weight, layer)
        if not bool(xp.all(known)):
            slopes = _resolved(evaluation, layers, position, slopes, known)
        found.append(slopes)
    return found, values


def _values(evaluation: Any) -> dict[str, Any]:
    """Layer values by name, for the probes."""
    values = {value.layer.name: value for value in evaluation.layers(_probes(evaluation))}
    for value in values.values():
        if value.positions != 1:
            raise refusal(value.layer, f"is shared over {value.positions} positions")
    return values


def _probes(evaluation: Any) -> Array:
    """Random cotangents (N, C, ``PROBES``), the same each time."""
    outputs = evaluation.outputs
    return evaluation.problem.backend.rng(0).normal((*(int(n) for n in outputs.shape), PROBES), dtype=outputs.dtype)


def _quotient(xp: Any, below: Any, above: Any, weight: Array, layer: Any) -> tuple[Array, Array]:
    """φ' = g_l / (g_{l+1} W) in the least-squares sense over the probes, and where it is known."""
    g, behind = (xp.permute_dims(v.cotangents[:, 0, :, :], (2, 0, 1)) for v in (below, above))
    arriving = behind @ weight
    square = xp.sum(arriving * arriving, axis=0)
    tolerance = float(xp.finfo(g.dtype).eps) ** 0.5
    size = xp.abs(behind) @ xp.abs(weight)
    # What cancels to less than this is rounding, of which no quotient can be taken.
    known = square > tolerance**2 * xp.sum(size * size, axis=0)
    quotient = xp.sum(g * arriving, axis=0) / xp.where(known, square, xp.ones_like(square))
    slopes = xp.where(known, quotient, xp.zeros_like(square))
    gap = xp.abs(g - slopes[None, ...] * arriving)
    allowed = tolerance * (xp.abs(g) + (xp.abs(slopes) + 1.0)[None, ...] * size)
    # Of an unknown slope only that it is no huge one: what arrives is less than ``tolerance`` of the size.
    allowed = xp.where(known[None, ...], allowed, _LARGEST * tolerance * xp.sum(size, axis=0)[None, ...])
    if bool(xp.any(gap > allowed)):
        raise refusal(layer, "is not followed by an elementwise function and the next affine layer alone")
    # A unit that the next layer does not look at has no part in what is passed back.
    unseen = xp.all(weight == 0, axis=0)
    return slopes, known | unseen[None, :]


def _resolved(evaluation: Any, layers: Sequence[Any], position: int, slopes: Array, known: Array) -> Array:
    """The slopes that are not known, from the same network with later layers of positive weights, which units let through."""
    problem = evaluation.problem
    xp, space = problem.xp, problem.space
    leaves = list(space.flatten(problem.params))
    rng = problem.backend.rng(1)
    for layer in layers[position + 1 :]:
        for name in layer.parameters:
            index = space.index(name)
            draw = xp.abs(rng.normal(tuple(leaves[index].shape), dtype=leaves[index].dtype))
            leaves[index] = draw * (1.0 / _sizes(layer)[1]) if name == layer.weight else draw + 1.0
    other = problem.at(space.unflatten(leaves)).evaluate(evaluation.batch)
    values = _values(other)
    layer, after = layers[position], layers[position + 1]
    again, now_known = _quotient(xp, values[layer.name], values[after.name], weight_of(xp, space, leaves, after), layer)
    if not bool(xp.all(known | now_known)):
        raise refusal(layer, "lies before units through which no gradient comes, so that the slopes of its units cannot be seen")
    return xp.where(known, slopes, again)
