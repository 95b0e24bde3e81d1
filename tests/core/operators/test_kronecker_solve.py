"""What a Kronecker product computes for a solve, and what it keeps."""

from __future__ import annotations

import array_api_compat.numpy
import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Kronecker


def spd(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.1 * np.eye(n)


@pytest.mark.parametrize("sizes", [(3, 4), (2, 3, 4), (5,), (1, 3)])
def test_the_first_solve_and_later_ones_agree(be, generator, sizes):
    for symmetric in (True, False):
        factors = [spd(generator, n) if symmetric else spd(generator, n) + generator.standard_normal((n, n)) for n in sizes]
        dense = np.ones((1, 1))
        for factor in factors:
            dense = np.kron(dense, factor)
        operator = Kronecker([be.asarray(f) for f in factors])
        v = generator.standard_normal((len(dense), 2))
        expected = np.linalg.solve(dense, v)
        for _ in range(3):
            np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v))), expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v[:, 0]))), expected[:, 0], rtol=1e-9, atol=1e-10)


class Counting(cv.ArrayBackend):
    """NumPy that counts its decompositions."""

    def __init__(self):
        super().__init__("counting", array_api_compat.numpy)
        self.counts = {"eigh": 0, "cholesky": 0}

    def eigh(self, a):
        self.counts["eigh"] += 1
        return super().eigh(a)

    def cholesky(self, a):
        self.counts["cholesky"] += 1
        return super().cholesky(a)


def test_decompositions_are_done_once(generator):
    be = Counting()
    operator = Kronecker([spd(generator, 3), spd(generator, 4)], backend=be)
    v = generator.standard_normal(12)
    for _ in range(4):
        operator.solve(v)
    assert be.counts == {"eigh": 0, "cholesky": 2}
    for damping in (0.1, 0.1, 0.2, 0.3):
        operator.solve(v, damping=damping)
        operator.logdet(damping)
    assert be.counts == {"eigh": 2, "cholesky": 2}


def test_a_singular_factor_is_refused_at_each_solve():
    operator = Kronecker([np.diag([1.0, 0.0]), np.eye(2)])
    for _ in range(3):
        with pytest.raises(cv.SingularMatrixError, match=r"a damping of .* would do"):
            operator.solve(np.ones(4))
    np.testing.assert_allclose(operator.solve(np.ones(4), damping=1.0), [0.5, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("n", [1, 5, 130])
def test_inverses_are_symmetric_to_the_last_bit(be, generator, n):
    matrix = spd(generator, n)
    inverse = be.to_numpy(Dense(be.asarray(matrix)).inverse().to_dense())
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(inverse, inverse.T)
    damped = be.to_numpy(Dense(be.asarray(matrix)).inverse(0.3).to_dense())
    np.testing.assert_allclose(damped, np.linalg.inv(matrix + 0.3 * np.eye(n)), rtol=1e-9, atol=1e-10)
