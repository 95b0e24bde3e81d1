"""The algebra has no holes: every operation of the sum and the product of every pair of structures, against the dense matrix."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.operators import (
    BlockDiagonal,
    Dense,
    Diagonal,
    Kronecker,
    KroneckerEigen,
    KroneckerSum,
    LowRank,
    LowRankPlusDiagonal,
    MatrixFree,
    Product,
    StackedBlocks,
    Sum,
    inner,
)

N = 6


def spd(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T + np.eye(n)


def orthonormal(rng, n, r):
    return np.linalg.qr(rng.standard_normal((n, r)))[0]


def free(be, rng):
    array = be.asarray(spd(rng, N))
    return MatrixFree(lambda v: array @ v, N, dtype=array.dtype, backend=cv.backend_of(array))


MADE = {
    "dense": lambda be, rng: Dense(be.asarray(spd(rng, N))),
    "diagonal": lambda be, rng: Diagonal(be.asarray(rng.uniform(1, 2, N))),
    "constant": lambda be, rng: Diagonal(be.asarray(np.full(N, 1.5))),
    "kronecker": lambda be, rng: Kronecker([be.asarray(spd(rng, 2)), be.asarray(spd(rng, 3))]),
    "kronecker-eigen": lambda be, rng: Kronecker([be.asarray(spd(rng, 2)), be.asarray(spd(rng, 3))]).eigenbasis(),
    "thin": lambda be, rng: KroneckerEigen(
        [None, be.asarray(orthonormal(rng, 3, 2))], be.asarray(rng.uniform(1, 2, (2, 2))), complement=0.5
    ),
    "kronecker-sum": lambda be, rng: KroneckerSum([[be.asarray(spd(rng, 2)), be.asarray(spd(rng, 3))] for _ in range(2)]),
    "congruence": lambda be, rng: MADE["kronecker-sum"](be, rng).inverse(),
    "low-rank": lambda be, rng: LowRank(be.asarray(orthonormal(rng, N, 2)), be.asarray(rng.uniform(1, 2, 2))),
    "low-rank-plus-diagonal": lambda be, rng: MADE["low-rank"](be, rng) + Diagonal(be.asarray(rng.uniform(1, 2, N))),
    "stacked": lambda be, rng: StackedBlocks(be.asarray(np.stack([spd(rng, 3), spd(rng, 3)]))),
    "blocks": lambda be, rng: BlockDiagonal(
        [Diagonal(be.asarray(rng.uniform(1, 2, 2))), Kronecker([be.asarray(spd(rng, 2)), be.asarray(spd(rng, 2))])]
    ),
    "other blocks": lambda be, rng: BlockDiagonal([Dense(be.asarray(spd(rng, 4))), Dense(be.asarray(spd(rng, 2)))]),
    "free": free,
    "sum": lambda be, rng: Sum([Diagonal(be.asarray(rng.uniform(1, 2, N))), Dense(be.asarray(spd(rng, N)))]),
}


def close(be, found, expected, rtol=1e-10):
    found = be.to_numpy(found) if be.owns(found) else np.asarray(found)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * max(1.0, np.abs(expected).max()))


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        yield


@pytest.fixture(params=MADE)
def pairs(request, be):
    """An operator of each structure with one of every other; with a few of them where NumPy is not the library."""
    others = MADE if be.name == "numpy" else ("diagonal", "kronecker", "thin", "low-rank", "free", request.param)
    return [
        tuple(MADE[name](be, rng) for name in (request.param, other)) for other in others for rng in [np.random.default_rng(1)]
    ]


def dense_of(operator):
    return operator.backend.to_numpy(operator.to_dense())


def test_every_operation_of_a_sum(be, pairs):
    for a, b in pairs:
        every_symmetric_operation(be, a + b, dense_of(a) + dense_of(b))


def every_symmetric_operation(be, total, matrix):
    n, v = matrix.shape[0], np.arange(1.0, matrix.shape[0] + 1)
    damped = matrix + 0.3 * np.eye(n)
    assert total.symmetric
    close(be, total @ be.asarray(v), matrix @ v)
    close(be, total.T.to_dense(), matrix)
    close(be, total.solve(be.asarray(v), damping=0.3), np.linalg.solve(damped, v), 1e-8)
    close(be, total.inverse(0.3).to_dense(), np.linalg.inv(damped), 1e-8)
    values, vectors = np.linalg.eigh(damped)
    close(be, total.power(0.5, 0.3).to_dense(), (vectors * values**0.5) @ vectors.T, 1e-8)
    close(be, total.logdet(0.3), np.linalg.slogdet(damped)[1])
    close(be, total.trace(), np.trace(matrix))
    close(be, total.diagonal(), np.diag(matrix))
    close(be, total.norm(), np.linalg.norm(matrix))
    close(be, total.norm(2), np.linalg.norm(matrix, 2))
    close(be, total.eigh()[0], np.linalg.eigvalsh(matrix))
    close(be, total.eigh(2)[0], np.linalg.eigvalsh(matrix)[::-1][:2])
    close(be, (2.0 * total).to_dense(), 2 * matrix)
    assert total.sample(be.rng(0), 3, damping=0.3).shape == (3, n)


def test_every_operation_of_a_product(be, pairs):
    for pair in pairs:
        every_operation_of_a_product(be, pair)


def every_operation_of_a_product(be, pair):
    product, matrix = pair[0] @ pair[1], dense_of(pair[0]) @ dense_of(pair[1])
    v, eye = np.arange(1.0, N + 1), np.eye(N)
    close(be, product @ be.asarray(v), matrix @ v)
    close(be, product.T.to_dense(), matrix.T)
    close(be, product.solve(be.asarray(v), damping=0.3), np.linalg.solve(matrix + 0.3 * eye, v), 1e-7)
    if any(isinstance(factor, LowRank) for factor in pair):
        with pytest.raises(cv.SingularMatrixError, match="singular"):
            product.solve(be.asarray(v))
    else:
        close(be, product.solve(be.asarray(v)), np.linalg.solve(matrix, v), 1e-7)
        close(be, product.inverse().to_dense(), np.linalg.inv(matrix), 1e-7)
    close(be, product.trace(), np.trace(matrix))
    close(be, product.diagonal(), np.diag(matrix))
    close(be, product.norm(), np.linalg.norm(matrix))
    close(be, (3.0 * product).to_dense(), 3 * matrix)


def test_the_inner_product_of_every_pair(be, pairs):
    for a, b in pairs:
        close(be, inner(a, b), np.sum(dense_of(a) * dense_of(b)))


def test_structure_that_a_pair_has_in_common_is_kept(be, recwarn):
    rng = np.random.default_rng(0)
    made = {name: make(be, rng) for name, make in MADE.items()}
    basis = made["kronecker"].eigenbasis()
    for total, kind in (
        (made["kronecker"] + made["constant"], KroneckerEigen),
        (made["constant"] + made["kronecker"], KroneckerEigen),
        (made["thin"] + made["constant"], KroneckerEigen),
        (basis + basis.power(2.0), KroneckerEigen),
        (basis @ basis.power(2.0), KroneckerEigen),
        (made["kronecker"] + MADE["kronecker"](be, rng), KroneckerSum),
        (made["kronecker"] + made["kronecker-sum"], KroneckerSum),
        (made["kronecker-sum"] - made["kronecker"], KroneckerSum),
        (made["blocks"] + made["constant"], BlockDiagonal),
        (made["dense"] + made["kronecker"], Dense),
        (made["dense"] @ made["blocks"], Dense),
        (made["low-rank"] + made["diagonal"], LowRankPlusDiagonal),
        (made["low-rank"] + MADE["low-rank"](be, rng), LowRank),
        (made["stacked"] + made["diagonal"], StackedBlocks),
    ):
        assert isinstance(total, kind)
    assert isinstance((made["blocks"] + made["constant"]).blocks["1"], KroneckerEigen)
    assert not [w for w in recwarn if issubclass(w.category, cv.DensifiedWarning)]


def test_blocks_of_mixed_structure(be):
    rng = np.random.default_rng(2)
    blocks = {name: MADE[name](be, rng) for name in ("dense", "diagonal", "kronecker", "thin", "sum")}
    operator = BlockDiagonal(blocks)
    matrix = np.zeros((30, 30))
    for i, block in enumerate(blocks.values()):
        matrix[6 * i : 6 * i + 6, 6 * i : 6 * i + 6] = dense_of(block)
    every_symmetric_operation(be, operator, matrix)


def test_a_product_of_operators_that_are_not_square(be):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, N)), rng.standard_normal((N, 3))
    product = Product(Dense(be.asarray(a)), Dense(be.asarray(b)))
    assert product.shape == (4, 3)
    close(be, product.to_dense(), a @ b)
    close(be, product.T.to_dense(), (a @ b).T)
    with pytest.raises(cv.ShapeError, match="trace needs a square"):
        product.trace()


def test_a_sum_needs_operators_of_one_shape(be):
    with pytest.raises(cv.ShapeError, match="one shape"):
        Sum([])
    with pytest.raises(cv.ShapeError, match="one shape"):
        Sum([Diagonal(be.asarray(np.ones(2))), Diagonal(be.asarray(np.ones(3)))])


def test_terms_that_cancel(be):
    rng = np.random.default_rng(0)
    k = MADE["kronecker"](be, rng)
    nothing = k - k
    close(be, nothing.to_dense(), np.zeros((N, N)))
    assert float(nothing.norm()) < 1e-6
