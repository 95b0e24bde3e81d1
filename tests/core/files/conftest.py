"""Every operator that can be saved, on every backend that is here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature.operators import (
    Block,
    BlockDiagonal,
    Dense,
    Diagonal,
    EntryPartition,
    Kronecker,
    KroneckerCongruence,
    KroneckerEigen,
    KroneckerSum,
    LowRank,
    LowRankPlusDiagonal,
    Partition,
    Product,
    StackedBlocks,
    Sum,
)

BACKENDS = ["numpy", "strict", "torch", "jax"]


@contextmanager
def made_backend(name: str) -> Iterator[cv.Backend]:
    """A backend that has float64: JAX has it switched on for as long."""
    if name == "strict":
        yield cv.ArrayBackend("strict", array_api_strict)
    elif name == "jax":
        jax = pytest.importorskip("jax")
        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
        try:
            yield cv.backend("jax")
        finally:
            jax.config.update("jax_enable_x64", before)
    else:
        yield cv.backend(name)


@pytest.fixture(params=BACKENDS)
def be(request: pytest.FixtureRequest) -> Iterator[cv.Backend]:
    with made_backend(request.param) as backend:
        yield backend


@pytest.fixture(params=BACKENDS)
def other(request: pytest.FixtureRequest) -> Iterator[cv.Backend]:
    with made_backend(request.param) as backend:
        yield backend


def spd(rng: np.random.Generator, n: int) -> Any:
    a = rng.standard_normal((n, n))
    return a @ a.T + np.eye(n)


def params() -> Any:
    return {"z": [np.zeros(3)], "a": {"bias": np.zeros(2), "weight": np.zeros((2, 3))}}


def layered(asarray: Callable[[Any], Any], rng: np.random.Generator) -> BlockDiagonal:
    """A layer stored as [W | b] beside a vector: what K-FAC builds."""
    space = cv.ParameterSpace.of(params())
    layer = Block("a.weight+a.bias", (1, 0), ((2, 3), (2, 1)), axis=1)
    partition = Partition(space, (Block("z.0", (2,), ((3, 1),)), layer))
    factors = [Dense(asarray(spd(rng, n)), symmetric=True) for n in (2, 4)]
    return BlockDiagonal({layer.name: Kronecker(factors), "z.0": Dense(asarray(spd(rng, 3)))}, partition=partition)


CASES: dict[str, Callable[[Callable[[Any], Any], np.random.Generator], cv.Operator]] = {
    "dense": lambda a, rng: Dense(a(spd(rng, 5))),
    "dense, not symmetric": lambda a, rng: Dense(a(rng.standard_normal((4, 4)))),
    "dense, not square": lambda a, rng: Dense(a(rng.standard_normal((2, 5)))),
    "dense, called symmetric": lambda a, rng: Dense(a(rng.standard_normal((3, 3))), symmetric=True),
    "dense, transposed": lambda a, rng: Dense(a(rng.standard_normal((4, 4)))).T,
    "dense, of parameters": lambda a, rng: Dense(a(spd(rng, 11)), space=cv.ParameterSpace.of(params())),
    "diagonal": lambda a, rng: Diagonal(a(rng.uniform(1, 2, 11)), space=cv.ParameterSpace.of(params())),
    "diagonal, empty": lambda a, rng: Diagonal(a(np.zeros(0))),
    "kronecker": lambda a, rng: Kronecker([a(spd(rng, 2)), a(spd(rng, 3))]),
    "kronecker of three": lambda a, rng: Kronecker([a(rng.standard_normal((n, n))) for n in (2, 1, 3)]),
    "kronecker-eigen": lambda a, rng: Kronecker([a(spd(rng, 2)), a(spd(rng, 3))]).eigenbasis(),
    "diagonal ⊗ dense": lambda a, rng: KroneckerEigen([None, a(np.linalg.qr(spd(rng, 3))[0])], a(rng.uniform(1, 2, (2, 3)))),
    "thin bases": lambda a, rng: KroneckerEigen([a(np.linalg.qr(spd(rng, 3))[0][:, :2]), None], a(rng.uniform(1, 2, (2, 2)))),
    "thin bases, damped": lambda a, rng: CASES["thin bases"](a, rng).inverse(0.5),
    "kronecker-sum": lambda a, rng: KroneckerSum([[a(spd(rng, 2)), a(spd(rng, 3))] for _ in range(2)]),
    "kronecker-sum, inverse": lambda a, rng: CASES["kronecker-sum"](a, rng).inverse(),
    "low-rank": lambda a, rng: LowRank.of_factor(a(rng.standard_normal((11, 3))), space=cv.ParameterSpace.of(params())),
    "low-rank, of rank zero": lambda a, rng: LowRank(a(np.zeros((4, 0))), a(np.zeros(0))),
    "low-rank, inverse": lambda a, rng: CASES["low-rank"](a, rng).inverse(0.5),
    "low-rank-plus-diagonal": lambda a, rng: LowRankPlusDiagonal(
        a(rng.uniform(1, 2, 5)), a(rng.standard_normal((5, 2))), a(np.diag([1.0, -2.0]))
    ),
    "blocks": lambda a, rng: BlockDiagonal({"z": Diagonal(a(rng.uniform(1, 2, 2))), "a": Dense(a(spd(rng, 3)))}),
    "blocks of parameters": layered,
    "stacked-blocks": lambda a, rng: StackedBlocks(a(np.stack([spd(rng, 3), spd(rng, 3)]))),
    "stacked-blocks, by columns": lambda a, rng: StackedBlocks(a(rng.standard_normal((2, 3, 3))), rows=False),
    "blocks of entries": lambda a, rng: BlockDiagonal(
        {"b": StackedBlocks(a(np.stack([spd(rng, 2), spd(rng, 2)]))), "a": Dense(a(spd(rng, 7)))},
        partition=EntryPartition(cv.ParameterSpace.of(params()), {"b": [0, 9, 3, 1], "a": [2, 4, 5, 6, 7, 8, 10]}),
    ),
    "sum": lambda a, rng: Sum([Diagonal(a(rng.uniform(1, 2, 6))), CASES["kronecker"](a, rng)]),
    "product": lambda a, rng: Product(Diagonal(a(rng.uniform(1, 2, 11))), layered(a, rng)),
    "nested blocks": lambda a, rng: BlockDiagonal(
        [BlockDiagonal([layered(a, rng), Kronecker([a(spd(rng, 2))]).eigenbasis()]), Dense(a(rng.standard_normal((2, 2))))]
    ),
}


@pytest.fixture(params=CASES)
def operator(request: pytest.FixtureRequest, be: cv.Backend, generator: np.random.Generator) -> cv.Operator:
    return CASES[request.param](be.asarray, generator)


@pytest.fixture
def cases() -> dict[str, Any]:
    return CASES


@pytest.fixture
def identical() -> Callable[[Any, Any], None]:
    """Assert that two values are the same: classes, arrays to the last bit, spaces, partitions and flags."""

    def check(one: Any, two: Any) -> None:
        assert type(one) is type(two)
        if isinstance(one, cv.Operator):
            assert one.shape == two.shape
            assert one.symmetric == two.symmetric
            assert one.space == two.space
            check(_insides(one), _insides(two))
        elif isinstance(one, dict):
            assert list(one) == list(two)
            for key in one:
                check(one[key], two[key])
        elif isinstance(one, list | tuple):
            assert len(one) == len(two)
            for a, b in zip(one, two, strict=True):
                check(a, b)
        elif isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
            assert one.shape == two.shape
            assert one.tobytes() == two.tobytes()
        elif isinstance(one, float):
            assert repr(one) == repr(two)
        else:
            assert one == two

    return check


def _insides(operator: cv.Operator) -> Any:
    """What the classes of operators hold, read off their documented attributes rather than packed."""
    host = operator.backend.to_numpy
    match operator:
        case Dense():
            return host(operator.array)
        case Diagonal():
            return host(operator.entries)
        case Kronecker():
            return list(operator.factors)
        case KroneckerEigen():
            bases = [None if q is None else host(q) for q in operator.bases]
            return bases, host(operator.values), float(operator.complement)
        case KroneckerSum():
            return list(operator.terms)
        case KroneckerCongruence():
            arrays = [*operator.bases, *operator.inverse_bases, operator.values]
            return [host(array) for array in arrays]
        case LowRank():
            return host(operator.vectors), host(operator.values)
        case LowRankPlusDiagonal():
            return host(operator.entries), host(operator.factor), host(operator.core)
        case StackedBlocks():
            return host(operator.array), operator.rows
        case BlockDiagonal():
            return dict(operator.blocks), operator.partition
        case Sum():
            return list(operator.terms)
        case Product():
            return [operator.left, operator.right]
    raise AssertionError(f"{type(operator).__name__} has no attributes known here")
