"""Dense references from Jacobians and output terms, in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..scenario import References
from .output_terms import OutputTerms


def assemble(jacobian: np.ndarray, terms: OutputTerms, second: np.ndarray | None = None) -> References:
    """References of the mean loss.

    Args:
        jacobian: J_n, (N, C, P).
        terms: loss, score, Fisher information and Hessian of each example in its outputs.
        second: ∂²f_nc/∂θ∂θᵀ, (N, C, P, P), or None for a model that is linear in its parameters.
    """
    n = len(jacobian)
    ggns = np.einsum("ncp,ncd,ndq->npq", jacobian, terms.hessian, jacobian)
    # ∂ℓ/∂f = -score.
    residual = 0.0 if second is None else -np.einsum("nc,ncpq->npq", terms.score, second)
    return References(
        share=np.full(n, 1 / n),
        jacobian=jacobian,
        output_fisher=terms.fisher,
        losses=terms.loss,
        gradients=-np.einsum("nc,ncp->np", terms.score, jacobian),
        fishers=np.einsum("ncp,ncd,ndq->npq", jacobian, terms.fisher, jacobian),
        ggns=ggns,
        hessians=ggns + residual,
    )


def reordered(references: References, order: np.ndarray) -> References:
    """The same references with parameter ``order[i]`` in place i."""

    def square(matrices: np.ndarray) -> np.ndarray:
        return matrices[:, order][:, :, order]

    return replace(
        references,
        jacobian=references.jacobian[:, :, order],
        gradients=references.gradients[:, order],
        fishers=square(references.fishers),
        ggns=square(references.ggns),
        hessians=square(references.hessians),
    )
