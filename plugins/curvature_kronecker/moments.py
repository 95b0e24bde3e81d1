"""What the eigenbases of a layer's factors are found from: the factors, or the rows of which few examples make them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import curvature as cv
from curvature.backend import has_values

from .eigenbasis import Pair, drift, eigenbases, iterated, thin_eigenbases
from .kfac import input_factor, output_factor

Array = Any
Bases = dict[str, Array]

FACTORED = ("affine", "grouped", "embedding")
"""Kinds of layers whose block is approximated in a Kronecker-factored basis."""


def moments(values: Any, root: Array | None, sharing: str, thin: bool) -> dict[str, Array]:
    """{"A" or "frequencies", "G"} of K-FAC; or the rows where they are fewer than the columns: A = XᵀX (/ N), G = YᵀY.

    Args:
        values: the layer's values.
        root: square roots of the examples' weights (N,), or None for 1/N each, which rows do not carry.
        thin: whether there may be rows; otherwise the factors are formed, which several batches have in common.
    """
    layer = values.layer
    if layer.kind not in FACTORED:
        return {}
    t = values.positions
    found: dict[str, Array] = {}
    # Only rows that span the gradients of all examples, whose basis may then be thin: not means, not those of groups.
    usable = thin and layer.kind != "grouped" and (sharing == "expand" or t == 1 or layer.kind == "embedding")
    g = values.cotangents
    xp = cv.namespace(g)
    n, _, outputs, columns = (int(length) for length in g.shape)
    if usable and n * t * columns < outputs:
        rows = xp.reshape(xp.permute_dims(g, (3, 0, 1, 2)), (-1, outputs))
        found["rows_G"] = rows if t == 1 else rows * t**-0.5
    else:
        found["G"] = output_factor(values, sharing)
    if layer.kind == "embedding":
        found["frequencies"] = values.input_frequencies
    elif usable and n * t < values.augmented_inputs.shape[2]:
        a = values.augmented_inputs
        found["rows_A"] = xp.reshape(a if root is None else a * xp.reshape(root, (-1, 1, 1)), (-1, a.shape[2]))
    else:
        found["A"] = input_factor(values, sharing)
    return found


def decomposed(
    backend: cv.Backend, found: Mapping[str, dict[str, Array]], previous: Any, update: str, tolerance: float, share: float | None
) -> Any:
    """{layer: {"values_A", "basis_A", "values_G", "basis_G"}} from what ``moments`` gave.

    Of rows there are their coordinates in the basis, X Q, as well: "coordinates_A" and "coordinates_G".

    Args:
        previous: statistics whose bases to start from, or None.
        update: "iterate" or "eigh" for the bases that have drifted.
        tolerance: how much they may have.
        share: 1/N where rows of inputs do not carry it; None where they carry the roots of the weights.
    """
    whole: dict[str, Array] = {}
    thin: dict[str, Array] = {}
    pairs: dict[str, Pair] = {}
    for name, statistics in found.items():
        for factor in ("A", "G"):
            label = _label(name, factor)
            if f"rows_{factor}" in statistics:
                thin[label] = statistics[f"rows_{factor}"]
            elif factor in statistics:
                old = None if previous is None else previous[name].get(f"basis_{factor}")
                kept = None if old is None else _followed(backend, statistics[factor], old, update, tolerance)
                if kept is None:
                    whole[label] = statistics[factor]
                else:
                    pairs[label] = kept
    pairs |= eigenbases(backend, whole)
    few = thin_eigenbases(backend, thin)
    result: dict[str, dict[str, Array]] = {}
    for name, statistics in found.items():
        parts = result[name] = {"values_A": statistics["frequencies"]} if "frequencies" in statistics else {}
        for factor in ("A", "G"):
            label = _label(name, factor)
            if label in pairs:
                parts[f"values_{factor}"], parts[f"basis_{factor}"] = pairs[label]
            elif label in few:
                values, parts[f"basis_{factor}"], coordinates = few[label]
                scaled = factor == "A" and share is not None
                parts[f"values_{factor}"] = values * share if scaled else values
                if factor == "G" or scaled:
                    parts[f"coordinates_{factor}"] = coordinates
    return result


def _label(name: str, factor: str) -> str:
    return f"the factor {factor} of layer {name!r}"


def _followed(backend: cv.Backend, factor: Array, basis: Array, update: str, tolerance: float) -> Pair | None:
    """Eigenvalues and basis of a factor from an earlier basis, or None if it is to be decomposed."""
    if basis.shape[0] != basis.shape[1]:
        return None
    if tolerance > 0 and has_values(factor):
        gap, values = drift(backend, factor, basis)
        if float(gap) <= tolerance:
            return values, basis
    return iterated(backend, factor, basis) if update == "iterate" else None
