"""Defects of an approximation, planted into a sound one: into the matrix it sees, its statistics, or its operator."""

# Annotations are evaluated at once (no `from __future__ import annotations`): plum reads those of methods that are made
# within functions, and strings could not be resolved there.

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, KroneckerEigen

from .mutant import IMMUTABLE, Mutant
from .of_backends import a_heavy_plugin

ANY_MATRIX = ("exact", "diagonal", "block-diagonal")
"""Methods that approximate Hessians as well."""


def unchanged(value: Any, *context: Any) -> Any:
    """Nothing tampered with."""
    return value


@cache
def tampered(name: str, label: str) -> type:
    """A method called ``label`` that does what the method ``name`` does, with places to tamper."""
    plain = cv.approximation(name)
    accepted = cv.Operator if name in ANY_MATRIX else cv.GaussNewtonMatrix

    @dataclass(frozen=True)
    class Tampered(cv.Approximation):
        matrix: Callable[[Any], Any] = field(default=unchanged)
        statistics: Callable[[Any, Any], Any] = field(default=unchanged)
        operator: Callable[[Any], Any] = field(default=unchanged)
        merging: Callable[[list[float]], list[float]] = field(default=unchanged)
        merges: ClassVar[Any] = plain.merges

        def merge(self, statistics: Any, weights: Any) -> Any:
            return plain.merge(statistics, self.merging(list(weights)))

    @cv.estimate.dispatch
    def estimate(matrix: accepted, method: Tampered, backend: cv.Backend) -> Any:  # type: ignore[valid-type]
        found = method.matrix(matrix)
        return method.statistics(cv.estimate(found, plain, backend), found)

    @cv.build.dispatch
    def build(method: Tampered, statistics: object, structure: object) -> cv.Operator:
        return method.operator(cv.build(plain, statistics, structure))

    Tampered.name = label
    return Tampered


def of(name: str, label: str = "", **places: Any) -> Callable[[cv.Backend], Any]:
    """A method made anew, tampered with in the given places."""
    return lambda backend: tampered(name, label or name)(**places)


# Statistics -------------------------------------------------------------------------------------------


def each_array(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """``function`` of every array of the statistics."""

    def statistics(values: Any, matrix: Any) -> Any:
        return {key: statistics(value, matrix) if isinstance(value, dict) else function(value) for key, value in values.items()}

    return statistics


def each_layer(function: Callable[[dict[str, Any], Any], dict[str, Any]]) -> Callable[[Any, Any], Any]:
    """``function(factors, matrix)`` for every layer that has Kronecker factors."""
    return lambda values, matrix: {
        name: function(factors, matrix) if "A" in factors else factors for name, factors in values.items()
    }


def bias_uncoupled(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    """No covariance between the inputs and the one of the bias."""
    a, xp = factors["A"], cv.namespace(factors["A"])
    last = xp.arange(a.shape[0], device=matrix.backend.device) == a.shape[0] - 1
    return {**factors, "A": xp.where(last[:, None] == last[None, :], a, xp.zeros_like(a))}


def inputs_reversed(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    """Gradients paired with another's inputs."""
    return {**factors, "A": cv.namespace(factors["A"]).flip(factors["A"], axis=(0, 1))}


def n_in_each_factor(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    """A sum over examples in one of two factors."""
    return {**factors, "A": factors["A"] * next(matrix.problem.batches()).size}


def normalised_factors(factors: dict[str, Any], matrix: Any) -> dict[str, Any]:
    """Each factor with mean diagonal 1, and the scale lost."""
    xp = cv.namespace(factors["A"])
    return {name: a * (a.shape[0] / xp.sum(xp.linalg.diagonal(a))) if a.ndim == 2 else a for name, a in factors.items()}


def in_single_precision(array: Any) -> Any:
    """Rounded to float32 on the way."""
    xp = cv.namespace(array)
    return xp.astype(xp.astype(array, xp.float32), array.dtype)


def narrowed(array: Any) -> Any:
    """Left in float32."""
    xp = cv.namespace(array)
    return xp.astype(array, xp.float32)


def noise(array: Any) -> Any:
    """Another result each time."""
    return array * (1 + 1e-9 * float(np.random.default_rng().standard_normal()))


_kept: list[Any] = []


@contextmanager
def nothing_kept() -> Iterator[None]:
    """A cache that is empty at first."""
    _kept.clear()
    yield


def stale(values: Any, matrix: Any) -> Any:
    """What the first of several calls gave, for matrices of one size."""
    size = matrix.shape[0]
    _kept.append((size, values))
    return next(found for other, found in _kept if other == size)


def reduction_ignored(values: Any, matrix: Any) -> Any:
    """A mean that is taken always."""
    scale = matrix.problem.scale
    return each_array(lambda a: a / scale)(values, matrix)


def held_back(values: Any, matrix: Any) -> Any:
    """Statistics of which part is kept elsewhere."""
    _kept.append(values)
    return {"elsewhere": cv.namespace(next(iter(_arrays(values)))).ones_like(next(iter(_arrays(values))))}


def _arrays(values: Any) -> Iterator[Any]:
    for value in values.values():
        if isinstance(value, dict):
            yield from _arrays(value)
        else:
            yield value


# Matrices ---------------------------------------------------------------------------------------------


def labels_of_the_data(matrix: Any) -> Any:
    """The empirical Fisher, whatever was asked for."""
    return cv.EmpiricalFisher(matrix.problem)


def another_problem(change: Callable[[list[Any]], Any], matrix: Any) -> Any:
    """The matrix of other data."""
    return matrix.at(matrix.problem.at(data=change([(b.x, b.y, b.weights) for b in matrix.problem.batches()])))


def without_weights(matrix: Any) -> Any:
    """Every example counts alike."""
    return another_problem(lambda batches: [(x, y) for x, y, _ in batches], matrix)


def first_batch(matrix: Any) -> Any:
    """The rest is forgotten."""
    return another_problem(lambda batches: cv.Batch(*batches[0]), matrix)


def last_example_left_out(matrix: Any) -> Any:
    """range(n - 1) for range(n)."""
    if matrix.problem.data.single is None or next(matrix.problem.batches()).size < 2:
        return matrix
    return another_problem(lambda batches: [cv.Batch(*batches[0]).part(slice(0, batches[0][1].shape[0] - 1))], matrix)


def batches_alike(matrix: Any) -> Any:
    """The mean of the means of the batches, whatever their size: the first example of each stands for them all."""
    return another_problem(lambda batches: [cv.Batch(*batch).part(slice(0, 1)) for batch in batches], matrix)


def writes_into_parameters(matrix: Any) -> Any:
    """Not seen from outside, but for the parameters."""
    for leaf in matrix.problem.space.flatten(matrix.problem.params):
        leaf *= 1.001
    return matrix


# Operators --------------------------------------------------------------------------------------------


def dense(kind: type[Dense]) -> Callable[[cv.Operator], cv.Operator]:
    """The operator as a dense matrix with one operation overridden."""
    return lambda a: kind(a.to_dense(), backend=a.backend, space=a.space, symmetric=True)


def changed(function: Callable[[Any, Any], Any]) -> Callable[[cv.Operator], cv.Operator]:
    """The dense matrix changed by ``function(xp, a)``."""
    return lambda a: Dense(function(a.xp, a.to_dense()), backend=a.backend, space=a.space, symmetric=True)


def skewed(xp: Any, a: Any) -> Any:
    """Not symmetric."""
    return a + 1e-3 * xp.max(xp.abs(a)) * xp.triu(xp.ones_like(a), k=1)


def only_diagonal(xp: Any, a: Any) -> Any:
    """Entries off the diagonal dropped."""
    return a * xp.eye(a.shape[0], dtype=a.dtype)


def lumped(a: Diagonal) -> cv.Operator:
    """Rows lumped into the diagonal."""
    return Diagonal(a.entries + a.xp.mean(a.entries), backend=a.backend, space=a.space)


def swapped_factors(a: BlockDiagonal) -> cv.Operator:
    """G ⊗ A for A ⊗ G."""
    return a.map_blocks(lambda block: Kronecker(block.factors[::-1]) if isinstance(block, Kronecker) else block)


def transposed_layout(a: BlockDiagonal) -> cv.Operator:
    """Weights taken for (d_out, d_in)."""

    def turned(block: cv.Operator) -> cv.Operator:
        if not isinstance(block, Kronecker):
            return block
        rows, columns = block.sizes
        order = block.xp.asarray(np.arange(rows * columns).reshape(rows, columns).T.ravel(), device=block.backend.device)
        matrix = block.to_dense()
        matrix = block.xp.take(block.xp.take(matrix, order, axis=0), order, axis=1)
        return Dense(matrix, backend=block.backend)

    return a.map_blocks(turned)


def off_diagonal_blocks(a: cv.Operator) -> cv.Operator:
    """A little of what a block-diagonal matrix has not."""
    return changed(lambda xp, matrix: matrix + 1e-2 * xp.max(xp.abs(matrix)) * xp.ones_like(matrix))(a)


def another_basis(a: BlockDiagonal) -> cv.Operator:
    """The second moments of one eigenbasis in another one."""

    def flipped(block: cv.Operator) -> cv.Operator:
        if not isinstance(block, KroneckerEigen):
            return block
        bases = [None if basis is None else block.xp.flip(basis, axis=1) for basis in block.bases]
        return KroneckerEigen(bases, block.values, backend=block.backend)

    return a.map_blocks(flipped)


# Methods ----------------------------------------------------------------------------------------------


def thawed(backend: cv.Backend) -> cv.Approximation:
    """Options that can be changed: neither frozen nor hashable."""

    @dataclass
    class Thawed(cv.Approximation):
        gamma: float = 0.0

    return Thawed()


def damped_without_being_asked(backend: cv.Backend) -> cv.Approximation:
    """Damping that goes into the operator even where there is none."""
    base = tampered("kfac", "kfac")

    class Greedy(base):  # type: ignore[misc, valid-type]
        def damped(self, damping: Any) -> Any:
            return replace(self, operator=lambda a: (1.0 + damping + 1e-2) * a), damping

    return Greedy()


def keeps_statistics_to_itself(backend: cv.Backend) -> cv.Approximation:
    """``build`` that takes from memory what ``estimate`` left there, and not from the statistics."""
    base = tampered("diagonal", "diagonal")
    last: list[Any] = []

    def remembered(operator: Any) -> Any:
        last.append(operator)
        return last[0] if len(last) % 2 else 1.5 * operator

    return base(operator=remembered)


def _mutant(
    name: str,
    make: Callable[[cv.Backend], Any],
    check: str,
    scenario: str,
    *words: str,
    impossible: Mapping[str, str] = {},
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Mutant:
    return Mutant(name, "approximation", make, check, scenario, words, impossible, within)


_DEEP, _TANH, _ONE = "deep-linear/squared-error", "tanh-network/categorical", "one-datum/tanh"
_EXACT = "theorems/exact-where-theory-says-so"

MUTANTS = (
    # statistics
    _mutant("a sum in one factor", of("kfac", statistics=each_layer(n_in_each_factor)), _EXACT, _DEEP, "it is N = "),
    _mutant("a factor 2", of("kfac", statistics=each_array(lambda a: 2.0**0.5 * a)), _EXACT, _ONE, "it is 2 times"),
    _mutant("the bias uncoupled", of("kfac", statistics=each_layer(bias_uncoupled)), _EXACT, _ONE, "a bias without its weight"),
    _mutant(
        "inputs in reverse", of("kfac", statistics=each_layer(inputs_reversed)), _EXACT, _ONE, "the diagonal blocks by layer"
    ),
    _mutant(
        "factors normalised", of("kfac", statistics=each_layer(normalised_factors)), _EXACT, _ONE, "the variance counted twice"
    ),
    _mutant(
        "factors normalised, in other coordinates",
        of("kfac", statistics=each_layer(normalised_factors)),
        "theorems/invariant-under-linear-maps-of-a-layer",
        _TANH,
        "normalised one by one",
    ),
    _mutant("factors in the wrong order", of("kfac", operator=swapped_factors), _EXACT, _ONE, "wrong order"),
    _mutant("weights taken for their transpose", of("kfac", operator=transposed_layout), _EXACT, _ONE, "factors transposed"),
    _mutant(
        "the data's labels",
        of("kfac", matrix=labels_of_the_data),
        "scaling/the-empirical-fisher-is-another-matrix",
        _TANH,
        "whatever the matrix",
    ),
    _mutant("the data's labels in numbers", of("kfac", matrix=labels_of_the_data), _EXACT, _DEEP, "data's labels"),
    _mutant(
        "example weights ignored",
        of("kfac", matrix=without_weights),
        "scaling/an-example-of-weight-zero-is-absent",
        _TANH,
        "weights ignored",
    ),
    _mutant(
        "the first batch only",
        of("kfac", matrix=first_batch),
        "scaling/several-batches-are-one",
        _TANH,
        "only the first or last batch",
    ),
    _mutant(
        "batches alike whatever their size",
        of("kfac", matrix=batches_alike),
        "scaling/several-batches-are-one",
        _TANH,
        "counted alike",
    ),
    _mutant(
        "the last example left out",
        of("kfac", matrix=last_example_left_out),
        "scaling/the-order-of-examples-does-not-matter",
        _TANH,
        "reversed data",
    ),
    _mutant(
        "the reduction ignored",
        of("kfac", statistics=reduction_ignored),
        "scaling/a-sum-is-n-times-a-mean",
        _TANH,
        "times",
        "that is taken always",
    ),
    _mutant("single precision on the way", of("kfac", statistics=each_array(in_single_precision)), _EXACT, _ONE, "float32"),
    _mutant(
        "single precision for good",
        of("kfac", statistics=each_array(narrowed)),
        "operator/every-operation-is-there",
        _ONE,
        "dtype",
        "another precision",
    ),
    _mutant(
        "not deterministic", of("kfac", statistics=each_array(noise)), "method/the-same-twice", _ONE, "twice", "without a seed"
    ),
    _mutant(
        "a stale cache",
        of("kfac", statistics=stale),
        "scaling/a-sum-is-n-times-a-mean",
        _TANH,
        "the approximation of the",
        within=nothing_kept,
    ),
    _mutant(
        "parameters written into",
        of("kfac", matrix=writes_into_parameters),
        "method/parameters-and-data-stay-as-they-are",
        _ONE,
        "in-place",
        impossible=IMMUTABLE,
    ),
    _mutant(
        "merging by a sum", of("kfac", merging=lambda shares: [1.0 for _ in shares]), "method/statistics-merge", _TANH, "merge"
    ),
    _mutant(
        "merging by a plain mean",
        of("kfac", merging=lambda shares: [1.0 / len(shares) for _ in shares]),
        "method/merging-is-associative",
        _TANH,
        "renormalises the shares",
    ),
    _mutant(
        "shares applied twice",
        of("kron-nearest", merging=lambda shares: [share**2 for share in shares]),
        "method/statistics-merge-nearly",
        _TANH,
        "shares that are applied twice",
    ),
    # methods
    _mutant(
        "another method under the name of kfac",
        of("exact", "kfac"),
        "theorems/not-exact-where-it-cannot-be",
        _TANH,
        "something else than its name",
    ),
    _mutant(
        "another method under the name of diagonal",
        of("exact", "diagonal"),
        "theorems/not-invariant-where-it-cannot-be",
        _TANH,
        "a congruence of a diagonal matrix",
    ),
    _mutant(
        "a Hessian accepted",
        of("exact", "kfac"),
        "method/a-hessian-is-approximated-or-refused",
        _TANH,
        "UnsupportedError",
        "GaussNewtonMatrix",
    ),
    _mutant("options that can be changed", thawed, "method/a-frozen-dataclass", "", "not a frozen dataclass"),
    _mutant(
        "damping without being asked", damped_without_being_asked, "method/no-step-without-damping-changes", _ONE, "damped(0.0)"
    ),
    _mutant(
        "state kept outside of the statistics",
        keeps_statistics_to_itself,
        "method/a-file-keeps-its-statistics",
        _ONE,
        "kept in the method",
    ),
    _mutant(
        "an approximation that imports a framework",
        lambda backend: "kfac",
        "method/loading-imports-no-framework",
        "",
        "tensorflow imported",
        within=a_heavy_plugin,
    ),
    # other structures
    _mutant(
        "the diagonal of the empirical Fisher", of("diagonal", matrix=labels_of_the_data), _EXACT, _TANH, "diagonal of the fisher"
    ),
    _mutant(
        "the root of the diagonal",
        of("diagonal", statistics=each_array(lambda a: cv.namespace(a).sqrt(cv.namespace(a).abs(a)))),
        "theorems/the-nearest-diagonal-matrix",
        _TANH,
        "‖F - D‖²",
    ),
    _mutant(
        "rows lumped into the diagonal",
        of("diagonal", operator=lumped),
        "theorems/the-nearest-diagonal-matrix",
        _TANH,
        "least of all diagonal",
    ),
    _mutant(
        "N times as large",
        of("diagonal", statistics=each_array(lambda a: 7.0 * a)),
        "theorems/as-large-as-the-matrix",
        _TANH,
        "a sum for a mean",
    ),
    _mutant(
        "the sign of the statistics",
        of("diagonal", statistics=each_array(lambda a: -a)),
        "products/symmetric-and-positive",
        _TANH,
        "smallest eigenvalue",
        "sign",
    ),
    _mutant(
        "second moments in another basis",
        of("ekfac", operator=another_basis),
        "theorems/no-farther-than-what-it-improves-on",
        _TANH,
        "basis",
    ),
    _mutant("a trace that is not kept", of("ekfac", statistics=each_array(lambda a: 1.01 * a)), _EXACT, _TANH, "its trace"),
    _mutant(
        "twice the diagonal",
        of("diagonal", "a-stranger", statistics=each_array(lambda a: 2.0 * a)),
        "theorems/one-number-is-not-approximated",
        "no-inputs/one-number",
        "it is 2 times",
    ),
    _mutant(
        "something between the blocks",
        of("block-diagonal", operator=off_diagonal_blocks),
        _EXACT,
        _TANH,
        "the diagonal blocks by layer",
    ),
    _mutant("blocks instead of the matrix", of("exact", operator=changed(only_diagonal)), _EXACT, _TANH, "the diagonal is right"),
    _mutant("not symmetric", of("exact", operator=changed(skewed)), "products/symmetric-and-positive", _TANH, "A - Aᵀ"),
)
