"""EKFAC statistics of several sets of data as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import curvature as cv
from curvature.backend import has_values

from .eigenbasis import Pair, eigenbases
from .scales import codimension

Array = Any
Tree = Any


def merged(statistics: Sequence[Tree], weights: Sequence[Any]) -> Tree:
    """The weighted average: of S where all have the same bases, otherwise of the operators, projected on new bases.

    The new bases are those of the averaged factors and contain the span of all of the old ones, so that the trace is kept:
    S = Σ_i w_i diag(Qᵀ EKFAC_i Q).

    Raises:
        DataError: if there is not one weight for each.
    """
    if len(statistics) != len(weights) or not statistics:
        raise cv.DataError(f"{len(statistics)} statistics and {len(weights)} weights; give one weight for each")
    return {name: _layer(name, [part[name] for part in statistics], weights) for name in statistics[0]}


def _layer(name: str, parts: Sequence[dict[str, Array]], weights: Sequence[Any]) -> dict[str, Array]:
    if "scales" not in parts[0]:
        return {key: _average([part[key] for part in parts], weights) for key in parts[0]}
    xp = cv.namespace(parts[0]["scales"])
    result: dict[str, Array] = {}
    overlaps: dict[str, list[Array]] = {}
    for factor in ("A", "G"):
        values, bases = ([part.get(f"{what}_{factor}") for part in parts] for what in ("values", "basis"))
        if _all_the_same(bases):
            pair, overlaps[factor] = (_average(values, weights), bases[0]), []
        else:
            pair, overlaps[factor] = _common(f"the factor {factor} of layer {name!r}", values, bases, weights)
        result[f"values_{factor}"] = pair[0]
        if pair[1] is not None:
            result[f"basis_{factor}"] = pair[1]
    scales = [_carried(xp, part, [overlaps[f][i : i + 1] for f in ("G", "A")]) for i, part in enumerate(parts)]
    result["scales"] = _average(scales, weights)
    if any("complement" in part for part in parts) and codimension(result):
        trace = _average([_trace(xp, part) for part in parts], weights)
        rest = (trace - xp.sum(result["scales"])) / codimension(result)
        result["complement"] = xp.where(rest > 0, rest, xp.zeros_like(rest))
    return result


def _carried(xp: Any, part: dict[str, Array], overlaps: list[list[Array]]) -> Array:
    """diag(Qᵀ EKFAC_i Q) for Q = Q_G ⊗ Q_A, from Mᵢ = Qᵀ Q_i of each factor ([] where the basis is the same)."""
    scales = part["scales"]
    inside = []
    for axis, overlap in enumerate(overlaps):
        if overlap:
            squared = overlap[0] * overlap[0]
            inside.append(xp.sum(squared, axis=1))
            scales = squared @ scales if axis == 0 else scales @ xp.matrix_transpose(squared)
        else:
            inside.append(xp.ones_like(scales[:, 0] if axis == 0 else scales[0, :]))
    if "complement" not in part:
        return scales
    return scales + part["complement"] * (1.0 - inside[0][:, None] * inside[1][None, :])


def _trace(xp: Any, part: dict[str, Array]) -> Array:
    total = xp.sum(part["scales"])
    return total + codimension(part) * part["complement"] if "complement" in part else total


def _common(name: str, values: list[Array], bases: list[Array], weights: Sequence[Any]) -> tuple[Pair, list[Array]]:
    """Eigenvalues and eigenvectors of Σ_i w_i Q_i Λ_i Q_iᵀ within the span of all Q_i; and Qᵀ Q_i for each."""
    xp, backend = cv.namespace(values[0]), cv.backend_of(values[0])
    rows = int(bases[0].shape[0])
    if sum(int(q.shape[1]) for q in bases) < rows:
        span, _ = xp.linalg.qr(xp.concat(bases, axis=1))
        overlaps = [xp.matrix_transpose(span) @ q for q in bases]
    else:
        span, overlaps = None, bases
    factor = _average([(m * v[None, :]) @ xp.matrix_transpose(m) for m, v in zip(overlaps, values, strict=True)], weights)
    found, vectors = eigenbases(backend, {name: factor})[name]
    basis = vectors if span is None else span @ vectors
    return (found, basis), [xp.matrix_transpose(vectors) @ m for m in overlaps]


def _all_the_same(bases: Sequence[Array | None]) -> bool:
    """Whether all bases are one and the same, to the last bit."""
    first = bases[0]
    if first is None:
        return True
    xp = cv.namespace(first)
    return all(
        q is first or (q is not None and tuple(q.shape) == tuple(first.shape) and has_values(q) and bool(xp.all(q == first)))
        for q in bases
    )


def _average(arrays: Sequence[Array], weights: Sequence[Any]) -> Array:
    total = arrays[0] * weights[0]
    for array, weight in zip(arrays[1:], weights[1:], strict=True):
        total = total + array * weight
    return total
