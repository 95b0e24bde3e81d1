"""Planted defects of approximations: each is caught, by a message that names it."""

# Annotations are evaluated at once (no `from __future__ import annotations`): plum reads those of methods that are made
# within functions, and strings could not be resolved there.

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker
from curvature_conformance import issues

KFAC = type(cv.approximation("kfac"))
DIAGONAL = type(cv.approximation("diagonal"))
EXACT = type(cv.approximation("exact"))


def unchanged(value: Any, *context: Any) -> Any:
    return value


class Tampered:
    """A method whose matrix, statistics or operator is tampered with on the way."""

    matrix: Callable[[Any], Any]
    statistics: Callable[[Any, Any], Any]
    operator: Callable[[Any], Any]


def tampered(base: type, label: str) -> type:
    """A method called ``label`` that does what ``base`` does, with places to tamper."""
    plain = base()
    accepted = cv.Operator if base in (EXACT, DIAGONAL) else cv.GaussNewtonMatrix

    @dataclass(frozen=True)
    class Mutant(cv.Approximation, Tampered):
        matrix: Callable[[Any], Any] = field(default=unchanged)
        statistics: Callable[[Any, Any], Any] = field(default=unchanged)
        operator: Callable[[Any], Any] = field(default=unchanged)

    @cv.estimate.dispatch
    def estimate(matrix: accepted, method: Mutant, backend: cv.Backend) -> Any:
        found = method.matrix(matrix)
        return method.statistics(cv.estimate(found, plain, backend), found)

    @cv.build.dispatch
    def build(method: Mutant, statistics: object, structure: object) -> cv.Operator:
        return method.operator(cv.build(plain, statistics, structure))

    Mutant.name = label
    return Mutant


Kfac, Diag, Exact = tampered(KFAC, "kfac"), tampered(DIAGONAL, "diagonal"), tampered(EXACT, "exact")


def each_array(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def statistics(values: Any, matrix: Any) -> Any:
        return {key: statistics(value, matrix) if isinstance(value, dict) else function(value) for key, value in values.items()}

    return statistics


def each_layer(function: Callable[[dict[str, Any], Any], dict[str, Any]]) -> Callable[[Any, Any], Any]:
    """``function(factors, matrix)`` for every layer that has Kronecker factors."""
    return lambda values, matrix: {
        name: function(factors, matrix) if "A" in factors else factors for name, factors in values.items()
    }


# Matrices ---------------------------------------------------------------------------------------------


def labels_of_the_data(matrix: Any) -> Any:
    return cv.EmpiricalFisher(matrix.problem)


def another_problem(change: Callable[[Any], Any], matrix: Any) -> Any:
    return matrix.at(matrix.problem.at(data=change([(b.x, b.y, b.weights) for b in matrix.problem.batches()])))


def without_weights(matrix: Any) -> Any:
    return another_problem(lambda batches: [(x, y) for x, y, _ in batches], matrix)


def first_batch(matrix: Any) -> Any:
    return another_problem(lambda batches: cv.Batch(*batches[0]), matrix)


def writes_into_parameters(matrix: Any) -> Any:
    for leaf in matrix.problem.space.flatten(matrix.problem.params):
        leaf *= 1.001
    return matrix


# Statistics -------------------------------------------------------------------------------------------


def bias_dropped(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    a = factors["A"].copy()
    a[-1, :-1] = a[:-1, -1] = 0.0
    return {**factors, "A": a}


def inputs_paired_with_another(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    return {**factors, "A": np.flip(factors["A"], (0, 1))}


def n_in_each_factor(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    n = next(matrix.problem.batches()).size
    return {**factors, "A": factors["A"] * n}


def noise(array: Any) -> Any:
    return array * (1 + 1e-9 * np.random.default_rng().standard_normal())


_kept: list[Any] = []


def stale(values: Any, matrix: Any) -> Any:
    """What the first of two calls gave, for matrices of one size."""
    size = matrix.shape[0]
    _kept.append((size, values))
    return next(found for other, found in _kept if other == size)


def reduction_ignored(values: Any, matrix: Any) -> Any:
    return each_array(lambda a: a / matrix.problem.scale)(values, matrix)


# Operators --------------------------------------------------------------------------------------------


def dense(kind: type[Dense]) -> Callable[[cv.Operator], cv.Operator]:
    """The operator as a dense matrix with one operation overridden."""
    return lambda a: kind(a.to_dense(), backend=a.backend, space=a.space, symmetric=True)


class HalfLogdet(Dense):
    def logdet(self, damping: Any = 0.0) -> Any:
        return 0.5 * super().logdet(damping)


class TwiceDamped(Dense):
    def _solve(self, v: Any, damping: Any) -> Any:
        return super()._solve(v, 2 * damping)


class UndampedInverse(Dense):
    def inverse(self, damping: Any = 0.0) -> Any:
        return super().inverse(damping and 1e-3)


class EntrywiseRoot(Dense):
    def power(self, p: float, damping: Any = 0.0) -> Any:
        if p != 0.5:
            return super().power(p, damping)
        return self._like(np.sqrt(np.abs(self._damped(damping))))


class AbsoluteTrace(Dense):
    def trace(self) -> Any:
        return np.sum(np.abs(self.array))


class ReversedDiagonal(Dense):
    def diagonal(self) -> Any:
        return super().diagonal()[::-1]


class SquaredNorm(Dense):
    def norm(self, order: Any = "fro") -> Any:
        return super().norm(order) ** 2


class Descending(Dense):
    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh(k)
        return values[::-1], vectors[:, ::-1]


class SmallestK(Dense):
    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh()
        return (values, vectors) if k is None else (values[:k], vectors[:, :k])


class NotNormed(Dense):
    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh(k)
        return values, 1.01 * vectors


class SampleOfTheOther(Dense):
    def sample(self, rng: Any, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Any:
        return super().sample(rng, n, inverse=not inverse, damping=damping)


class GlobalNoise(Dense):
    def sample(self, rng: Any, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Any:
        fresh = self.backend.rng(int(np.random.default_rng().integers(2**31)))
        return super().sample(fresh, n, inverse=inverse, damping=damping)


class FirstBlock(Dense):
    def block(self, name: str) -> Any:
        return super().block(self.space.names[0])


class ForgetsFactor(Dense):
    def scaled(self, factor: Any) -> Any:
        return self._like(self.array * abs(factor))


class ReversedProducts(Dense):
    def _matmat(self, v: Any) -> Any:
        return self.array @ v[::-1]


class WritesIntoVector(Dense):
    def _solve(self, v: Any, damping: Any) -> Any:
        solved = super()._solve(v, damping)
        v *= 2.0
        return solved


class LosesArrays(Dense):
    def map_arrays(self, function: Any, backend: Any) -> Any:
        return Dense(function(np.eye(len(self.array))), backend=backend, space=self.space)


def changed(function: Callable[[Any], Any]) -> Callable[[cv.Operator], cv.Operator]:
    """The dense matrix changed."""
    return lambda a: Dense(function(a.to_dense()), backend=a.backend, space=a.space, symmetric=True)


def skewed(a: Any) -> Any:
    return a + 1e-3 * np.abs(a).max() * np.triu(np.ones_like(a), 1)


def lumped(a: Diagonal) -> cv.Operator:
    return Diagonal(a.entries + a.entries.mean(), backend=a.backend, space=a.space)


def swapped_factors(a: BlockDiagonal) -> cv.Operator:
    return a.map_blocks(lambda block: Kronecker(block.factors[::-1]) if isinstance(block, Kronecker) else block)


def blocks_shuffled(a: BlockDiagonal) -> cv.Operator:
    """Each block's matrix in the transposed layout: weights taken for (d_out, d_in)."""

    def turned(block: cv.Operator) -> cv.Operator:
        if not isinstance(block, Kronecker):
            return block
        rows, columns = block.sizes
        order = np.arange(rows * columns).reshape(rows, columns).T.ravel()
        return Dense(block.to_dense()[np.ix_(order, order)], backend=block.backend)

    return a.map_blocks(turned)


def accepts_hessians() -> cv.Approximation:
    return tampered(EXACT, "kfac")()


def sums_when_merging() -> cv.Approximation:
    class Summing(Kfac):  # type: ignore[misc, valid-type]
        def merge(self, statistics: Any, weights: Any) -> Any:
            return super().merge(statistics, [1.0 for _ in weights])

    return Summing()


def thawed() -> cv.Approximation:
    """Options that can be changed: neither frozen nor hashable."""

    @dataclass
    class Thawed(cv.Approximation):
        gamma: float = 0.0

    return Thawed()


def damped_twice() -> cv.Approximation:
    class Greedy(Kfac):  # type: ignore[misc, valid-type]
        def damped(self, damping: Any) -> Any:
            return replace(self, operator=lambda a: (1.0 + damping + 1e-2) * a), damping

    return Greedy()


MUTANTS: dict[str, tuple[Callable[[], cv.Approximation], str, tuple[str, ...]]] = {
    # statistics of K-FAC
    "sum for mean": (lambda: Kfac(statistics=each_layer(n_in_each_factor)), "theorems/exact-*", ("it is N = ",)),
    "a factor 2": (lambda: Kfac(statistics=each_array(lambda a: 2.0**0.5 * a)), "theorems/exact-*", ("it is 2 times",)),
    "the bias uncoupled": (lambda: Kfac(statistics=each_layer(bias_dropped)), "theorems/exact-*", ("a bias without its weight",)),
    "inputs in the wrong order": (
        lambda: Kfac(statistics=each_layer(inputs_paired_with_another)),
        "theorems/exact-*",
        ("the diagonal blocks by layer",),
    ),
    "factors in the wrong order": (lambda: Kfac(operator=swapped_factors), "theorems/exact-*", ("wrong order",)),
    "weights taken for their transpose": (lambda: Kfac(operator=blocks_shuffled), "theorems/exact-*", ("factors transposed",)),
    "the data's labels": (lambda: Kfac(matrix=labels_of_the_data), "scaling/the-empirical-*", ("whatever the matrix",)),
    "the data's labels, numbers": (lambda: Kfac(matrix=labels_of_the_data), "theorems/exact-*", ("data's labels",)),
    "example weights ignored": (lambda: Kfac(matrix=without_weights), "scaling/an-example-*", ("weights ignored",)),
    "the first batch only": (lambda: Kfac(matrix=first_batch), "scaling/several-*", ("only the first or last batch",)),
    "the reduction ignored": (lambda: Kfac(statistics=reduction_ignored), "scaling/a-sum-*", ("times", "that is taken always")),
    "single precision on the way": (
        lambda: Kfac(statistics=each_array(lambda a: a.astype(np.float32).astype(a.dtype))),
        "theorems/exact-*",
        ("float32",),
    ),
    "single precision for good": (
        lambda: Kfac(statistics=each_array(lambda a: a.astype(np.float32))),
        "operator/every-*",
        ("dtype", "another precision"),
    ),
    "not deterministic": (lambda: Kfac(statistics=each_array(noise)), "method/the-same-twice", ("twice", "without a seed")),
    "statistics from the call before": (lambda: Kfac(statistics=stale), "scaling/*", ("approximation of the",)),
    "parameters written into": (lambda: Kfac(matrix=writes_into_parameters), "method/parameters-*", ("in-place",)),
    "the exact matrix under the name of kfac": (
        tampered(EXACT, "kfac"),
        "theorems/not-exact-*",
        ("something else than its name",),
    ),
    "a Hessian accepted": (accepts_hessians, "method/a-hessian-*", ("UnsupportedError", "GaussNewtonMatrix")),
    "merging by a sum": (sums_when_merging, "method/statistics-merge", ("merge",)),
    "options that can be changed": (thawed, "method/a-frozen-*", ("not a frozen dataclass",)),
    "damping without being asked": (damped_twice, "method/no-step-*", ("damped(0.0)",)),
    # the diagonal
    "the diagonal of the empirical Fisher": (
        lambda: Diag(matrix=labels_of_the_data),
        "theorems/exact-*",
        ("diagonal of the fisher",),
    ),
    "its square root": (lambda: Diag(statistics=each_array(np.sqrt)), "theorems/the-nearest-*", ("‖F - D‖²",)),
    "rows lumped into it": (lambda: Diag(operator=lumped), "theorems/the-nearest-*", ("least of all diagonal",)),
    "N times as large": (lambda: Diag(statistics=each_array(lambda a: 7.0 * a)), "theorems/as-large-*", ("a sum for a mean",)),
    "negative": (lambda: Diag(statistics=each_array(np.negative)), "products/symmetric-*", ("smallest eigenvalue", "sign")),
    # operations
    "half of logdet": (lambda: Exact(operator=dense(HalfLogdet)), "spectra/logdet", ("it is 0.5 times", "log det L")),
    "damping applied twice": (lambda: Exact(operator=dense(TwiceDamped)), "inverses/solve-*", ("damping applied twice",)),
    "an inverse without damping": (lambda: Exact(operator=dense(UndampedInverse)), "inverses/inverse-*", ("ignored",)),
    "the root of the entries": (lambda: Exact(operator=dense(EntrywiseRoot)), "inverses/powers", ("root of the entries",)),
    "the trace of something else": (lambda: Exact(operator=dense(AbsoluteTrace)), "spectra/trace-*", ("trace()",)),
    "the diagonal in another order": (lambda: Exact(operator=dense(ReversedDiagonal)), "spectra/trace-*", ("flat order",)),
    "the norm squared": (lambda: Exact(operator=dense(SquaredNorm)), "spectra/trace-*", ("norm()", "its square")),
    "eigenvalues descending": (lambda: Exact(operator=dense(Descending)), "spectra/eig*", ("ascending",)),
    "the smallest eigenvalues": (lambda: Exact(operator=dense(SmallestK)), "spectra/eig*", ("largest in magnitude",)),
    "eigenvectors that are not unit vectors": (lambda: Exact(operator=dense(NotNormed)), "spectra/eig*", ("orthonormal",)),
    "draws from the inverse's inverse": (
        lambda: Exact(operator=dense(SampleOfTheOther)),
        "spectra/draws-*",
        ("standard errors off",),
    ),
    "draws that ignore rng": (lambda: Exact(operator=dense(GlobalNoise)), "spectra/draws-*", ("does not come from rng",)),
    "always the first block": (lambda: Exact(operator=dense(FirstBlock)), "products/blocks", ("block(",)),
    "a multiple without its sign": (lambda: Exact(operator=dense(ForgetsFactor)), "algebra/multiples", ("-A", "sign is wrong")),
    "products in another order": (lambda: Exact(operator=dense(ReversedProducts)), "products/vectors-*", ("A @ vector",)),
    "solve writes into its vector": (lambda: Exact(operator=dense(WritesIntoVector)), "method/parameters-*", ("in-place",)),
    "arrays lost on the way to another backend": (lambda: Exact(operator=dense(LosesArrays)), "products/to-the-*", ("A.to(",)),
    "not symmetric": (lambda: Exact(operator=changed(skewed)), "products/symmetric-*", ("A - Aᵀ",)),
    "blocks instead of the matrix": (
        lambda: Exact(operator=changed(lambda a: a * np.eye(len(a)))),
        "theorems/exact-*",
        ("the diagonal is right",),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, caught: Any) -> None:
    make, check, words = MUTANTS[name]
    _kept.clear()
    caught(make(), check, *words)


@pytest.mark.parametrize("kind", [Kfac, Diag, Exact])
def test_a_mutant_that_changes_nothing_conforms(kind: type) -> None:
    assert issues(kind(), only_scenarios="*regression/plain") == []
