"""Kronecker-factored recursive approximation: the factor G passed back in expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv

from .chain import PROBES, chain_of, gives_the_outputs, slopes_of, weight_of
from .costs import kfac_cost
from .damping import Factored
from .kfac import factors
from .kflr import require_exact

Array = Any


@dataclass(frozen=True)
class KFRA(Factored):
    """K-FAC with G passed from layer to layer in expectation: G_l = (W_{l+1}ᵀ G_{l+1} W_{l+1}) ∘ E[φ'φ'ᵀ], φ' = φ'(s_l).

    At the last layer G is E[S_n S_nᵀ] at its output, as in KFLR; below it one d × d matrix is passed back for all examples
    in place of a column for each example and output. It takes the two factors of each expectation for independent: exact for
    one example, and for deep linear networks with squared error. Biases are absorbed in ā.

    It is defined for chains of affine layers with elementwise functions between them. That a network is one is verified: two
    random cotangents must give the same φ' at each layer. A single layer of any kind is the last one: then it is KFLR.

    Attributes:
        damping, gamma, max_dense: as for K-FAC.

    Source: Botev, Ritter and Barber (2017).
    """

    name: ClassVar[str] = "kfra"
    merges: ClassVar[Literal["exact", "approximate"]] = "approximate"

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return kfac_cost(self, layout, probes=PROBES)

    max_dense: int = 1000


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: KFRA, backend: cv.Backend) -> Any:
    """{layer: {"A", "G"}}.

    Raises:
        UnsupportedError: for a Monte Carlo or an empirical Fisher, and for a network that is no such chain, naming the layer.
    """
    require_exact(matrix, method)
    problem = matrix.problem
    if len(problem.structure.layers) == 1:
        key = ("kfra", method.max_dense)
        return (yield matrix.of_layers(lambda values: factors(values, "expand", method.max_dense), key=key))
    layers = chain_of(problem.structure.layers)
    found = yield lambda evaluation: _moments(matrix, evaluation, layers)
    leaves = problem.space.flatten(problem.params)
    xp = backend.xp
    result: dict[str, dict[str, Array]] = {}
    g: Any = None
    for position in reversed(range(len(layers))):
        values = found[layers[position].name]
        if g is None:
            g = values["G"]
        else:
            weight = weight_of(xp, problem.space, leaves, layers[position + 1])
            g = (xp.matrix_transpose(weight) @ g @ weight) * values["slopes"]
        result[layers[position].name] = {"A": values["A"], "G": g}
    return result


def _moments(matrix: cv.GaussNewtonMatrix, evaluation: Any, layers: Sequence[Any]) -> dict[str, dict[str, Array]]:
    """A of each layer; E[φ'φ'ᵀ] of all but the last, which has G."""
    xp, root = evaluation.problem.xp, matrix.output_factor(evaluation)
    # The columns of the root are needed at the last layer alone, whose output is the network's, as a rule.
    slopes, values = slopes_of(evaluation, layers)
    at_last = root if gives_the_outputs(evaluation, values[layers[-1].name]) else None
    if at_last is None:
        values |= {value.layer.name: value for value in evaluation.layers(root) if value.layer.name == layers[-1].name}
    found: dict[str, dict[str, Array]] = {}
    for layer, slope in zip(layers, [*slopes, None], strict=True):
        value = values[layer.name]
        if slope is None:
            g = value.cotangents[:, 0, :, :] if at_last is None else at_last
            found[layer.name] = {"A": value.input_gram, "G": value.gram(xp.matrix_transpose(g))}
        else:
            found[layer.name] = {"A": value.input_gram, "slopes": value.weighted_gram(slope[:, None, :])}
    return found
