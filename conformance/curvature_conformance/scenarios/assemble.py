"""Dense references from Jacobians and output terms, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..scenario import References
from .output_terms import OutputTerms


def assemble(
    jacobian: np.ndarray, terms: OutputTerms, *, second: np.ndarray | None = None, weights: np.ndarray | None = None
) -> References:
    """References of the weighted mean loss.

    Args:
        jacobian: J_n, (N, C, P).
        terms: loss, score, Fisher information and Hessian of each example in its outputs.
        second: ∂²f_nc/∂θ∂θᵀ, (N, C, P, P), or None for a model that is linear in its parameters.
        weights: (N,) or None for 1 each.
    """
    n = len(jacobian)
    w = np.ones(n) if weights is None else weights
    w = w / w.sum()
    ggn = np.einsum("n,ncp,ncd,ndq->pq", w, jacobian, terms.hessian, jacobian)
    # ∂ℓ/∂f = -score.
    residual = 0.0 if second is None else -np.einsum("n,nc,ncpq->pq", w, terms.score, second)
    scores = np.einsum("nc,ncp->np", terms.score, jacobian)
    return References(
        loss=float(w @ terms.loss),
        gradient=-w @ scores,
        jacobian=jacobian,
        output_fisher=terms.fisher,
        fisher=np.einsum("n,ncp,ncd,ndq->pq", w, jacobian, terms.fisher, jacobian),
        ggn=ggn,
        hessian=ggn + residual,
        empirical_fisher=np.einsum("n,np,nq->pq", w, scores, scores),
    )


def reordered(references: References, order: np.ndarray) -> References:
    """The same references with parameter ``order[i]`` in place i."""
    square = np.ix_(order, order)
    return References(
        loss=references.loss,
        gradient=references.gradient[order],
        jacobian=references.jacobian[:, :, order],
        output_fisher=references.output_fisher,
        fisher=references.fisher[square],
        ggn=references.ggn[square],
        hessian=references.hessian[square],
        empirical_fisher=references.empirical_fisher[square],
    )
