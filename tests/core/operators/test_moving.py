"""Operators moved between backends, devices and dtypes."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, MatrixFree

TARGETS = {
    "numpy": lambda: cv.backend("numpy"),
    "torch": lambda: cv.backend("torch"),
    "strict": lambda: cv.ArrayBackend("strict", array_api_strict),
}


def arrays(operator):
    if isinstance(operator, BlockDiagonal):
        return [a for block in operator.blocks.values() for a in arrays(block)]
    if isinstance(operator, Kronecker):
        return [factor.array for factor in operator.factors]
    return [operator.array if isinstance(operator, Dense) else operator.entries]


def make(be, rng, dtype=None):
    def a(shape):
        return be.asarray(rng.standard_normal(shape), dtype=dtype)

    space = cv.ParameterSpace.of({"b": np.zeros(2), "w": np.zeros((2, 2))})
    inner = BlockDiagonal([Kronecker([a((2, 2)), a((1, 1))]), Diagonal(a((2,))), Dense(a((2, 2)))])
    return [inner, Dense(a((6, 6)), space=space), Dense(a((2, 3)))]


@pytest.mark.parametrize("target", TARGETS)
def test_every_bit_and_flag_arrives(be, target, generator):
    there = TARGETS[target]()
    for operator in make(be, generator):
        moved = operator.to(there)
        assert type(moved) is type(operator)
        assert moved.backend == there
        assert (moved.shape, moved.symmetric, moved.space) == (operator.shape, operator.symmetric, operator.space)
        for one, two in zip(arrays(operator), arrays(moved), strict=True):
            assert there.owns(two)
            assert be.to_numpy(one).tobytes() == there.to_numpy(two).tobytes()
        back = moved.to(operator.backend)
        for one, two in zip(arrays(operator), arrays(back), strict=True):
            assert be.to_numpy(one).tobytes() == be.to_numpy(two).tobytes()


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_another_dtype_is_rounded_once(be, target, generator):
    for operator in make(be, generator):
        moved = operator.to(target, dtype="float32")
        assert moved.backend.dtype == "float32"
        for one, two in zip(arrays(operator), arrays(moved), strict=True):
            np.testing.assert_array_equal(moved.backend.to_numpy(two), be.to_numpy(one).astype(np.float32))
        n = moved.shape[1]
        assert (moved @ moved.backend.asarray(np.ones(n))).dtype == moved.dtype


def test_a_move_within_one_backend(generator):
    import torch

    operator = Diagonal(torch.ones(3, dtype=torch.float64), backend=cv.backend("torch", device="cpu"))
    moved = operator.to(cv.backend("torch", device="cpu"), dtype="float32")
    assert moved.dtype is torch.float32
    assert moved.backend.device == torch.device("cpu")


def test_bfloat16_moves_within_torch_and_widens_elsewhere():
    import torch

    values = torch.tensor([1.0, 3.140625, -(2.0**-130)]).to(torch.bfloat16)
    operator = Diagonal(values)
    assert torch.equal(operator.to("torch").entries, values)
    with pytest.raises(cv.PrecisionError, match=r"'numpy' has no bfloat16; ask for .* dtype='float32'"):
        operator.to("numpy")
    np.testing.assert_array_equal(operator.to("numpy", dtype="float32").entries, values.to(torch.float32).numpy())


def test_what_holds_no_arrays_is_not_moved():
    free = MatrixFree(lambda v: v, 3, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    problem = cv.Problem(cv.Model(lambda p, x: x @ p, np.ones((2, 2))), cv.Categorical(), (np.ones((1, 2)), np.array([0])))
    for operator in (free, free @ free, cv.Fisher(problem), BlockDiagonal([free])):
        with pytest.raises(cv.UnsupportedError, match=r"no arrays that could be moved.*to_dense\(\)"):
            operator.to("torch")


def test_what_cannot_be_meant():
    operator = Diagonal(np.ones(2))
    with pytest.raises(cv.UnknownBackendError, match="trch"):
        operator.to("trch")
    with pytest.raises(cv.DataError, match="the name of a floating dtype"):
        operator.to("torch", dtype="int32")
    with pytest.raises(cv.DataError, match="has a device of its own"):
        operator.to(cv.backend("torch", device="cpu"), device="meta")
    with pytest.raises(cv.BackendUnavailableError):
        operator.to("torch", device="cuda:99")
