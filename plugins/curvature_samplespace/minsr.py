"""Steps on the side of the examples: J̃ᵀ (K + λI)⁻¹ ε, the minSR of variational Monte Carlo."""

from __future__ import annotations

from numbers import Real
from typing import Any

import curvature as cv

Array = Any
Tree = Any


def natural_gradient(
    matrix: cv.GaussNewtonMatrix | cv.Gram,
    residuals: Array | None = None,
    *,
    damping: Any = 0.0,
    rcond: float | None = None,
    centred: bool = False,
) -> Tree:
    """(F + λI)⁻¹ g = J̃ᵀ (K + λI)⁻¹ ε for the gradient g = J̃ᵀ ε, a params tree: one solve with the Gram matrix K, one J̃ᵀ.

    g = Σ_n w_n · scale · J_nᵀ S_n e_n for the residuals e: with those of the loss (the default) the step is the natural
    gradient of ``problem.loss()``. For variational Monte Carlo, outputs are log ψ, the matrix is
    ``Fisher(Problem(model, Gaussian(), (configurations, anything, weights)))``, ``centred=True`` and e the local energies:
    then g = Σ w_n (O_n - Ō) E_n, and the matrix is the covariance of log-derivatives.

    Args:
        matrix: ``curvature.Fisher(problem)``, …, or its ``curvature.Gram``, which several calls may share.
        residuals: e, (N, R), (N·R,) or (N,) for R = 1, examples in the order of the batches; weights and scale are put in here.
        damping: λ.
        rcond: take the pseudo-inverse of K + λI with eigenvalues of K below rcond · λ_max left out.
        centred: as ``curvature.Gram``; of a Gram that is given it is known.

    Raises:
        DataError: if the residuals do not fit, or the loss has none for this matrix (see ``residuals_of``).
        SingularMatrixError: for a singular K without damping; names one that would do.

    Source: Chen and Heyl (2024); Rende, Viteritti, Bardone, Becca and Goldt (2024).
    """
    gram = gram_of(matrix, centred)
    epsilon = weighted_residuals(gram, residuals)
    return gram.problem.space.unravel(gram.xp, gram.jacobian.T @ _solved(gram, epsilon, damping, rcond))


def _solved(gram: cv.Gram, epsilon: Array, damping: Any, rcond: float | None) -> Array:
    if rcond is None:
        return gram.solve(epsilon, damping)
    if not 0 <= rcond < 1:
        raise cv.DataError(f"rcond lies in [0, 1), got {rcond}")
    if isinstance(damping, Real):
        if not 0 <= float(damping) < float("inf"):
            raise cv.DataError(f"damping must be a finite number ≥ 0, got {damping}")
        damping = float(damping)  # a NumPy scalar would promote float32 arrays
    xp, (values, vectors) = gram.xp, gram.eigh()
    keep = values > float(rcond) * values[-1:]
    inverse = xp.where(keep, 1.0 / (xp.where(keep, values, xp.ones_like(values)) + damping), xp.zeros_like(values))
    return vectors @ (inverse * (xp.matrix_transpose(vectors) @ epsilon))


def gram_of(matrix: cv.GaussNewtonMatrix | cv.Gram, centred: bool = False) -> cv.Gram:
    """The Gram matrix of a Fisher-type matrix, or itself.

    Raises:
        DataError: for a neural tangent kernel, which knows no likelihood.
    """
    gram = matrix if isinstance(matrix, cv.Gram) else cv.Gram(matrix, centred=centred)
    if not hasattr(gram.jacobian, "matrix"):
        raise cv.DataError(
            "a step needs the Gram matrix of a Fisher-type matrix, such as curvature.Gram(curvature.Fisher(problem))"
        )
    return gram


def weighted_residuals(gram: cv.Gram, residuals: Array | None) -> Array:
    """ε (N·R,) = √(w_n · scale) e_n, so that J̃ᵀ ε = Σ_n w_n · scale · J_nᵀ S_n e_n; centred as J̃ is.

    Raises:
        DataError: if the residuals do not fit.
    """
    xp, jacobian = gram.xp, factored(gram)
    given = residuals_of(jacobian.matrix) if residuals is None else residuals
    rows, columns = gram.shape[0], jacobian.columns
    n = rows // columns
    if tuple(given.shape) not in ((n, columns), (rows,)):
        raise cv.DataError(
            f"residuals of shape {tuple(given.shape)} do not fit {n} examples with {columns} columns of the output factor: pass "
            f"({n}, {columns}) or ({rows},)"
        )
    epsilon = xp.reshape(given, (n, columns)) * jacobian.root_weights[:, None]
    column = xp.reshape(epsilon, (rows, 1))
    return (jacobian.centre(column) if jacobian.centred else column)[:, 0]


def factored(gram: cv.Gram) -> Any:
    """J̃ with its weights."""
    return gram.jacobian


def residuals_of(matrix: cv.GaussNewtonMatrix) -> Array:
    """e (N, R) with S_n e_n = ∂ℓ_n/∂f, by least squares for each example: the gradient of the loss is J̃ᵀ ε.

    For a Gaussian e = (f - y) / σ; for the empirical Fisher e = -1.

    Raises:
        DataError: naming the first example whose gradient does not lie in the range of S_n.
    """
    problem, backend, xp = matrix.problem, matrix.backend, matrix.xp
    score, pieces = problem.of_outputs("score"), []
    for batch in problem.batches():
        outputs, y = backend.evaluate(problem.outputs_of(batch), problem.params), problem.targets(batch)
        wanted, factor = -score(outputs, y)[:, :, None], matrix.factor(outputs, y, batch)
        found = xp.linalg.pinv(factor) @ wanted
        missed = xp.sum((factor @ found - wanted) ** 2, axis=(1, 2))
        size = xp.sum(wanted**2, axis=(1, 2))
        bad = missed > float(xp.finfo(outputs.dtype).eps) * size
        if batch.weights is not None:
            bad = bad & (batch.weights > 0)
        if not backend.is_abstract(bad) and bool(xp.any(bad)):
            example = int(xp.argmax(xp.astype(bad, xp.int32)))
            raise cv.DataError(
                f"batch {batch.index}: the gradient of the loss of example {example} does not lie in the range of the output "
                f"factor of the {type(matrix).__name__} ({float(missed[example] / size[example]) ** 0.5:.1%} of it is missing), "
                f"so it has no residuals; take curvature.Fisher or curvature.GGN, or pass residuals"
            )
        pieces.append(found[:, :, 0])
    return pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=0)
