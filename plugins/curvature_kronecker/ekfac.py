"""Eigenvalue-corrected K-FAC."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature.operators import BlockDiagonal, KroneckerEigen

from .averaging import merged
from .costs import ekfac_cost
from .damping import own_block, own_statistics
from .kfac import require_sharing
from .moments import FACTORED, decomposed, moments
from .scales import codimension, scales, trace

Array = Any
Tree = Any
Update = Literal["keep", "iterate", "eigh"]
BASES = ("basis_A", "basis_G", "coordinates_A", "coordinates_G")


@dataclass(frozen=True)
class EKFAC(cv.Approximation):
    """(Q_A ⊗ Q_G) diag(S) (Q_A ⊗ Q_G)ᵀ for each layer: K-FAC's eigenbases with the eigenvalues S_ij = E[(Q_Gᵀ dW Q_A)²_ij].

    Q_A and Q_G are the eigenvectors of K-FAC's factors A and G, dW the gradient of one example. S is the diagonal of
    Qᵀ F_l Q, so that the trace is that of the block, ‖F_l - EKFAC‖² = ‖F_l‖² - ‖S‖², and no other diagonal in this basis is
    nearer: it is never farther from F_l than K-FAC. Two passes over the data; a single batch is evaluated once. Of fewer
    examples than a factor has rows only those eigenvectors are found that they span (the others have S = 0): that costs
    an eigendecomposition of the size of the number of examples. Layers of other kinds are treated as K-FAC does.

    The statistics hold the bases. Merging those of several sets of data finds new bases and carries each S over to them: it
    keeps the trace, but is not what all data would have given.

    Attributes:
        sharing: of which factors the eigenvectors are taken where weights are shared over T positions, K-FAC's "expand" or
            "reduce"; S is that of the gradients of each example either way.
        max_dense: largest layer of another kind that gets a dense block.
        previous: statistics to start from; see ``after``.
        update: what becomes of their bases: "keep" (S alone is new, one pass), "iterate" (one step of orthogonal iteration)
            or "eigh" (as without them).
        drift: bases are kept while the off-diagonal mass of Qᵀ A Q is at most this share of ‖A‖_F.

    Source: George, Laurent, Bouthillier, Ballas and Vincent (2018).
    """

    name: ClassVar[str] = "ekfac"
    merges: ClassVar[Literal["exact", "approximate"]] = "approximate"
    sharing: Literal["expand", "reduce"] = "expand"
    max_dense: int = 1000
    previous: Any = field(default=None, repr=False, compare=False)
    update: Update = "eigh"
    drift: float = 0.0

    def __post_init__(self) -> None:
        require_sharing(self.name, self.sharing)
        if self.update not in ("keep", "iterate", "eigh"):
            raise cv.DataError(f"ekfac: update is 'keep', 'iterate' or 'eigh', got {self.update!r}")
        if not self.drift >= 0:
            raise cv.DataError(f"ekfac: drift is ≥ 0, got {self.drift}")

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return ekfac_cost(self, layout)

    def after(self, statistics: Tree, update: Update = "keep", *, drift: float = 0.0) -> EKFAC:
        """The method that starts from given statistics, for other parameters or other data.

        Where the bases are thin and are kept, what lies outside of them gets one eigenvalue that keeps the trace.

        Args:
            statistics: what ``curvature.estimate`` returned before.
            update: "keep" estimates S anew in their bases; "iterate" and "eigh" find new bases where these have drifted.
            drift: how much off-diagonal mass, relative to the factor, counts as none.
        """
        return replace(self, previous=statistics, update=update, drift=drift)

    def merge(self, statistics: list[Tree], weights: list[Any]) -> Tree:
        return merged(statistics, weights)


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: EKFAC, backend: cv.Backend) -> Any:
    """{layer: {"values_A", "basis_A", "values_G", "basis_G", "scales"}}: eigenvalues and bases of both factors, and S
    (r_G, r_A).

    An embedding has no "basis_A": it is the identity. "complement" is the eigenvalue outside of thin bases, where that is
    not 0. Layers of other kinds have {"block"} or {"diagonal"}.
    """
    layers = matrix.problem.structure.layers
    if method.previous is not None:
        _require_layers(method.previous, layers)
    kept: Any = None
    if method.previous is not None and method.update == "keep":
        found = kept = {layer.name: method.previous[layer.name] for layer in layers if layer.kind in FACTORED}
    else:
        factors = yield _factors(matrix, method)
        batch = matrix.problem.data.single
        share = None if batch is None or batch.weights is not None else 1.0 / batch.size
        found = decomposed(backend, factors, method.previous, method.update, method.drift, share)
    bases = {layer.name: {k: v for k, v in found.get(layer.name, {}).items() if k in BASES} for layer in layers}
    # Thin bases that were found just now are spanned by the gradients; those that are kept may miss some.
    options = (method.max_dense, found is not kept)
    second = yield matrix.of_layers(
        lambda values, given: _second(values, given, *options), key=("ekfac scales", *options), extra=bases
    )
    return {layer.name: _completed(found.get(layer.name, {}), second[layer.name]) for layer in layers}


def _require_layers(previous: Any, layers: Any) -> None:
    missing = [layer.name for layer in layers if layer.kind in FACTORED and "scales" not in previous.get(layer.name, {})]
    if missing:
        raise cv.DataError(
            f"ekfac: the statistics to start from hold no scales of layer {missing[0]!r}: they are of another model or method"
        )


def _factors(matrix: cv.GaussNewtonMatrix, method: EKFAC) -> Any:
    """The request for what the bases are found from: of one batch its rows, where they are few; of several the factors."""
    sharing, single = method.sharing, matrix.problem.data.single
    key = ("ekfac factors", sharing)
    if single is None or single.weights is None:
        thin = single is not None
        return matrix.of_layers(lambda values: moments(values, None, sharing, thin), key=(*key, thin))

    def of_batch(evaluation: Any) -> Any:
        values, root = matrix.layer_values(evaluation), matrix.xp.sqrt(evaluation.weights)
        extra = {value.layer.name: root for value in values}
        return evaluation.each_layer(values, lambda value, r: moments(value, r, sharing, True), (*key, "weighted"), extra)

    return of_batch


def _second(values: Any, bases: dict[str, Array], max_dense: int, spanning: bool) -> dict[str, Array]:
    """Of the second pass: S of a layer, with the trace where its bases may not span all gradients; or its own block."""
    if not bases:
        return own_statistics(values, max_dense)
    in_block = scales(values, bases)
    xp = cv.namespace(in_block)
    found = {"scales": in_block if values.layer.transposed else xp.matrix_transpose(in_block)}
    if not spanning and any(bases[key].shape[0] > bases[key].shape[1] for key in ("basis_A", "basis_G") if key in bases):
        found["trace"] = trace(values)
    return found


def _completed(found: dict[str, Array], second: dict[str, Array]) -> dict[str, Array]:
    """The statistics of a layer: the trace that S leaves over is spread over what the bases do not span."""
    if "scales" not in second:
        return second
    kept = {k: found[k] for k in ("values_A", "basis_A", "values_G", "basis_G") if k in found} | {"scales": second["scales"]}
    if "trace" in second:
        xp = cv.namespace(second["scales"])
        rest = (second["trace"] - xp.sum(second["scales"])) / codimension(kept)
        kept["complement"] = xp.where(rest > 0, rest, xp.zeros_like(rest))
    return kept


@cv.build.dispatch
def build(method: EKFAC, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """A block-diagonal operator of ``KroneckerEigen``, one for each layer."""
    backend = structure.backend
    blocks: dict[str, cv.Operator] = {}
    for layer in structure.layers:
        values = statistics[layer.name]
        if "scales" in values:
            bases, scales_ = [values["basis_G"], values.get("basis_A")], values["scales"]
            if not layer.transposed:
                bases, scales_ = bases[::-1], backend.xp.matrix_transpose(scales_)
            blocks[layer.name] = KroneckerEigen(
                bases,
                scales_,
                complement=values.get("complement", 0.0),
                backend=backend,
            )
        else:
            blocks[layer.name] = own_block(backend, values, 0.0)
    return BlockDiagonal(blocks, partition=structure.partition)
