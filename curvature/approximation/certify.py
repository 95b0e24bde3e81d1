"""Certificates: exact by the Gram matrix of the gradients, or estimated from examples or from probes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, MixedBackendError, ShapeError
from ..matrices import GaussNewtonMatrix
from ..matrices.inner_products import summed_inner_products
from ..operators import Operator
from ..problem import Batch, LayerValues
from .certificate import Certificate, from_moments
from .quadratic import quadratic
from .sweeps import Sweep

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any

EXACT_ROWS = 4096
"""Largest number of gradients (examples times columns) whose Gram matrix is made by default."""
EXACT_COLUMNS = 1000
"""Largest number of parameters for which all columns of a matrix that is no Fisher are taken by default."""
COLUMNS = 8
"""Columns of the output factor that are kept apart; more of them are mixed by random signs."""


def certificate(
    operator: Operator,
    matrix: Operator,
    *,
    exact: bool | None = None,
    examples: int = 256,
    probes: int = 16,
    seed: int = 0,
    sweep: Sweep | None = None,
) -> Certificate:
    """‖M - A‖ / ‖M‖ in the Frobenius norm, for an approximation A of the matrix M; neither is formed.

    For a Fisher-type matrix F = Σ_n Σ_r j_nr j_nrᵀ exactly, from
    ‖F - A‖² = ‖K‖² - 2 Σ_n Σ_r j_nrᵀ A j_nr + ‖A‖² with the Gram matrix K of the gradients; or from ``examples`` of them that
    are drawn with their weights (an unbiased estimate of each term, with a jackknife interval). For another matrix from its
    columns, or from products with random signs: E ‖M z‖² = ‖M‖².

    Args:
        operator: the approximation A.
        matrix: what it approximates.
        exact: whether to do without randomness; by default for at most 4096 gradients, or 1000 columns.
        examples: how many examples are drawn otherwise.
        probes: how many products of a matrix that is no Fisher are taken otherwise.
        seed: of the draws.
        sweep: a pass over the data that is under way, whose evaluations are used again.

    Raises:
        ShapeError: A has another shape than M.
        MixedBackendError: A lives on another backend.
    """
    if operator.shape != matrix.shape:
        raise ShapeError(f"an operator of shape {operator.shape} is no approximation of a matrix of shape {matrix.shape}")
    if operator.backend.name != matrix.backend.name:
        raise MixedBackendError(
            f"the approximation lives on {operator.backend.name!r}, the matrix on {matrix.backend.name!r}; move it with .to(...)"
        )
    if min(examples, probes) < 3:
        raise DataError(f"an interval needs at least 3 examples or probes, got {min(examples, probes)}")
    if not isinstance(matrix, GaussNewtonMatrix):
        if exact or (exact is None and matrix.shape[0] <= EXACT_COLUMNS):
            return _by_columns(operator, matrix)
        return _by_probes(operator, matrix, probes, seed)
    if exact or (exact is None and _few_gradients(matrix)):
        return _by_gram(operator, matrix, Sweep(matrix) if sweep is None else sweep)
    return _by_examples(operator, matrix, examples, seed)


def _few_gradients(matrix: GaussNewtonMatrix) -> bool:
    """Whether the Gram matrix is small."""
    total = columns = 0
    for batch in matrix.problem.batches():
        columns = columns or matrix.columns(batch)  # the outputs of all batches have one width
        total += batch.size * columns
        if total > EXACT_ROWS:
            return False
    return True


# Exactly ----------------------------------------------------------------------------------------------


def _by_gram(operator: Operator, matrix: GaussNewtonMatrix, sweep: Sweep) -> Certificate:
    xp = matrix.xp
    squares, inner = 0.0, 0.0
    held: list[tuple[list[LayerValues], float]] = []
    for evaluation, share in sweep.evaluations():
        values = matrix.layer_values(evaluation)
        share = float(share)
        inner += share * float(xp.sum(quadratic(operator, values, matrix.problem.structure.partition)))
        for others, weight in [*held, (values, share)]:
            block = summed_inner_products(values, others)
            twice = 1.0 if others is values else 2.0
            squares += twice * share * weight * float(xp.sum(block * block))
        if matrix.problem.data.single is None:
            held.append((values, share))
    approximation = float(operator.norm()) ** 2
    eps = float(xp.finfo(matrix.dtype).eps)
    return from_moments(squares, inner, approximation, eps=eps, method="exact, by the Gram matrix of the gradients")


def _by_columns(operator: Operator, matrix: Operator) -> Certificate:
    xp = matrix.xp
    one, other = matrix.to_dense(), operator.to_dense()
    difference = float(xp.sum((one - other) ** 2))
    squares, approximation, inner = (float(xp.sum(a * b)) for a, b in ((one, one), (other, other), (one, other)))
    found = from_moments(squares, inner, approximation, eps=0.0, method="exact, from all columns")
    if squares <= 0:
        return found
    # The difference itself is at hand, so that nothing cancels.
    error = (difference / squares) ** 0.5
    return replace(found, relative_error=error, interval=(error, error), resolution=float(xp.finfo(matrix.dtype).eps))


# Estimated --------------------------------------------------------------------------------------------


def _by_examples(operator: Operator, matrix: GaussNewtonMatrix, examples: int, seed: int) -> Certificate:
    """Draws i, independent and with the examples' weights, are worth F each: for i ≠ j, E <F_i, F_j> = ‖F‖²."""
    xp, problem = matrix.xp, matrix.problem
    drawn: list[list[LayerValues]] = []
    forms: list[Array] = []
    rng = problem.backend.rng(seed)
    for batch, rows in _draws(matrix, examples, seed):
        values = _values_of(matrix, batch, rows, rng)
        drawn.append(values)
        forms.append(quadratic(operator, values, problem.structure.partition))
    to_numpy = problem.backend.to_numpy
    inner = np.concatenate([np.asarray(to_numpy(form), dtype=np.float64) for form in forms])
    pairs = _pair_squares(xp, to_numpy, drawn)
    approximation = float(operator.norm()) ** 2
    n = inner.shape[0]
    # All, and all but one of the draws.
    sums, rows_of = pairs.sum(), pairs.sum(axis=1)
    norm = sums / (n * (n - 1))
    norms = (sums - 2 * rows_of) / ((n - 1) * (n - 2))
    means = (inner.sum() - inner) / (n - 1)
    ratios = (norms - 2 * means + approximation) / norms
    variance = _jackknife(ratios)
    method = f"estimated from {n} examples"
    eps = float(xp.finfo(matrix.dtype).eps)
    return from_moments(float(norm), float(inner.mean()), approximation, eps=eps, method=method, variance=variance)


def _draws(matrix: GaussNewtonMatrix, examples: int, seed: int) -> list[tuple[Batch, Any]]:
    """(batch, positions in it) of examples drawn with replacement, each with its weight as probability."""
    problem = matrix.problem
    batches = list(problem.batches())
    weights = [
        np.ones(batch.size) if batch.weights is None else np.asarray(problem.backend.to_numpy(batch.weights), dtype=np.float64)
        for batch in batches
    ]
    together = np.concatenate(weights)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x63657274])))
    positions = np.sort(generator.choice(together.shape[0], size=examples, p=together / together.sum()))
    found, start = [], 0
    for batch in batches:
        here = positions[(positions >= start) & (positions < start + batch.size)] - start
        start += batch.size
        if here.size:
            found.append((batch, here))
    return found


def _values_of(matrix: GaussNewtonMatrix, batch: Batch, rows: Any, rng: Rng) -> list[LayerValues]:
    """Inputs and cotangents of some examples, each worth the whole matrix."""
    xp, problem = matrix.xp, matrix.problem
    evaluation = problem.evaluate(batch)
    factor = matrix.factor(evaluation.outputs, evaluation.y, batch) * float(problem.scale) ** 0.5
    places = problem.backend.asarray(rows)
    factor = xp.take(factor, places, axis=0)
    columns = int(factor.shape[2])
    if columns > COLUMNS:
        # Only pairs of different draws are compared, so one mixture of the columns stands for all: E ω ωᵀ = I.
        signs = rng.rademacher((int(factor.shape[0]), columns, COLUMNS), dtype=factor.dtype)
        factor = factor @ signs * COLUMNS**-0.5
    return problem.evaluate(batch.taken(xp, places)).layers(factor)


def _pair_squares(xp: Any, to_numpy: Any, drawn: list[list[LayerValues]]) -> np.ndarray:
    """Σ_r Σ_s K_ir,js² of all pairs of draws, 0 on the diagonal, (n, n)."""
    blocks: list[list[np.ndarray]] = []
    for i, left in enumerate(drawn):
        n = left[0].examples
        row = [blocks[j][i].T for j in range(i)]
        for right in drawn[i:]:
            block, m = summed_inner_products(left, right), right[0].examples
            squares = xp.reshape(block * block, (n, block.shape[0] // n, m, block.shape[1] // m))
            row.append(np.asarray(to_numpy(xp.sum(xp.sum(squares, axis=3), axis=1)), dtype=np.float64))
        blocks.append(row)
    pairs = np.block(blocks)
    np.fill_diagonal(pairs, 0.0)
    return pairs


def _jackknife(without_one: np.ndarray) -> float:
    """The variance of an estimate, from its values with one draw left out each (Tukey 1958)."""
    n = without_one.shape[0]
    return float((n - 1) / n * np.sum((without_one - without_one.mean()) ** 2))


def _by_probes(operator: Operator, matrix: Operator, probes: int, seed: int) -> Certificate:
    """E ‖M z‖² = ‖M‖² for random signs z, and alike for M - A with the same z."""
    xp = matrix.xp
    signs = matrix.backend.rng(seed).rademacher((matrix.shape[1], probes), dtype=matrix.dtype)
    one, other = matrix._matmat(signs), operator._matmat(signs)

    def summed(a: Array, b: Array) -> np.ndarray:
        return np.asarray(matrix.backend.to_numpy(xp.sum(a * b, axis=0)), dtype=np.float64)

    squares, inner, approximation = summed(one, one), summed(one, other), summed(other, other)
    gaps = summed(one - other, one - other)
    variance = _jackknife((gaps.sum() - gaps) / (squares.sum() - squares))
    method = f"estimated from {probes} products"
    return from_moments(
        float(squares.mean()), float(inner.mean()), float(approximation.mean()), eps=0.0, method=method, variance=variance
    )
