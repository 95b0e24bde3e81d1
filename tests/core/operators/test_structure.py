"""Which structure a result has, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import (
    Block,
    BlockDiagonal,
    Dense,
    Diagonal,
    Kronecker,
    KroneckerEigen,
    MatrixFree,
    Partition,
    Product,
    Sum,
)

EYE = np.eye(3)


def test_structure_is_kept_where_it_is_closed(recwarn):
    d, k = Diagonal(np.ones(3)), Kronecker([np.eye(2), 2 * EYE])
    assert isinstance(d + d, Diagonal)
    assert isinstance(d @ d, Diagonal)
    assert isinstance(d.inverse(0.1), Diagonal)
    assert isinstance(k @ k, Kronecker)
    assert isinstance(k.inverse(), Kronecker)
    assert isinstance(k.inverse(0.1), KroneckerEigen)
    assert isinstance(k.power(2), Kronecker)
    b = BlockDiagonal([d, k])
    assert isinstance((BlockDiagonal([d, d]) + BlockDiagonal([d, d])).blocks["1"], Diagonal)
    assert isinstance((b @ b).blocks["1"], Kronecker)
    assert isinstance(b.inverse(0.1).blocks["0"], Diagonal)
    assert not [w for w in recwarn if issubclass(w.category, cv.DensifiedWarning)]


def test_losing_structure_is_said():
    with pytest.warns(cv.DensifiedWarning, match="sum of Diagonal and Kronecker"):
        total = Diagonal(np.arange(6.0)) + Kronecker([np.eye(2), EYE])
    assert isinstance(total, Sum)
    with pytest.warns(cv.DensifiedWarning, match="solve of a Sum builds a dense 6 × 6"):
        total.solve(np.ones(6))
    with pytest.warns(cv.DensifiedWarning, match="product of Kronecker and Diagonal"):
        product = Kronecker([np.eye(2), EYE]) @ Diagonal(np.ones(6))
    assert isinstance(product, Product)


def test_a_sum_with_a_matrix_free_operator_is_kept_without_a_word(recwarn):
    free = MatrixFree(lambda v: 2.0 * v, 3, dtype=np.float64, backend=cv.backend("numpy"))
    total = free + Diagonal(np.ones(3))
    assert isinstance(total, Sum)
    np.testing.assert_allclose(total @ np.ones(3), 3.0)
    assert not recwarn


def test_a_product_of_symmetric_matrices_is_not_taken_for_symmetric():
    rng = np.random.default_rng(0)
    a, b = (m @ m.T for m in rng.standard_normal((2, 3, 3)))
    product = Dense(a) @ Dense(b)
    assert not product.symmetric
    np.testing.assert_allclose(product.T.to_dense(), (a @ b).T)
    np.testing.assert_allclose(product.solve(np.ones(3)), np.linalg.solve(a @ b, np.ones(3)))
    with pytest.raises(cv.NotSymmetricError, match="eigh"):
        product.eigh()


def test_trees_go_in_and_come_out():
    params = {"w": np.ones((2, 3)), "b": np.arange(2.0)}
    operator = Diagonal(np.arange(8.0), space=cv.ParameterSpace.of(params))
    product = operator @ params
    # Sorted keys: b comes first.
    np.testing.assert_allclose(product["b"], [0.0, 1.0])
    np.testing.assert_allclose(product["w"], [[2.0, 3, 4], [5, 6, 7]])
    solved = operator.solve(params, damping=1.0)
    np.testing.assert_allclose(solved["b"], np.arange(2.0) / np.array([1.0, 2.0]))
    with pytest.raises(cv.ShapeError, match=r"'w' has shape \(3, 2\), expected \(2, 3\)"):
        operator @ {"w": np.ones((3, 2)), "b": np.ones(2)}
    with pytest.raises(cv.ShapeError, match="structure"):
        operator @ {"w": np.ones((2, 3))}


def test_a_bare_array_of_parameters_is_a_tree():
    params = np.ones((2, 3))
    operator = Diagonal(np.arange(6.0), space=cv.ParameterSpace.of(params))
    assert (operator @ params).shape == (2, 3)
    np.testing.assert_allclose(operator @ params, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(np.ones(3)), "needs a matrix"),
        (lambda: Diagonal(EYE), "needs a vector"),
        (lambda: Kronecker([]), "at least one factor"),
        (lambda: Kronecker([np.ones((2, 3))]), "square"),
        (lambda: BlockDiagonal([]), "at least one block"),
        (lambda: Dense(EYE) @ np.ones(4), r"cannot be applied to an array of shape \(4,\)"),
        (lambda: Dense(EYE) + Dense(np.eye(2)), "cannot add"),
        (lambda: Dense(EYE) @ Dense(np.eye(2)), "cannot multiply"),
        (lambda: Dense(EYE).block("w"), "does not know any parameters"),
        (lambda: Dense(EYE) * np.ones(3), "takes a number"),
    ],
)
def test_wrong_shapes_are_named(make, message):
    with pytest.raises(cv.ShapeError, match=message):
        make()


def test_a_singular_operator_names_a_damping_that_would_do():
    singular = Dense(np.diag([1.0, 1.0, 0.0]))
    for operator in (singular, Diagonal(np.array([1.0, 1.0, 0.0])), Kronecker([singular, Dense(np.eye(2))])):
        n = operator.shape[0]
        with pytest.raises(cv.SingularMatrixError, match=r"damping of .* or more would do") as caught:
            operator.solve(np.ones(n))
        damping = float(str(caught.value).split("a damping of ")[1].split()[0])
        assert np.all(np.isfinite(operator.solve(np.ones(n), damping=damping)))
        with pytest.raises(cv.SingularMatrixError):
            operator.logdet()


def test_many_parameters_in_float32_need_no_large_damping():
    """Rounding of an eigenvalue grows with the factors' sizes, not with how many eigenvalues there are."""
    factor, eye = np.diag(np.linspace(0.07, 1, 300)).astype(np.float32), np.eye(300, dtype=np.float32)
    kronecker, small = Kronecker([factor, factor]), Kronecker([1e-6 * eye, eye])
    n = 300**2
    diagonal = Diagonal(np.linspace(0.004, 1, n).astype(np.float32))
    for operator in (diagonal, kronecker.eigenbasis(), (kronecker + small).inverse()):
        solved = operator.solve(np.ones(n, dtype=np.float32))
        np.testing.assert_allclose(operator @ solved, 1.0, rtol=1e-3)
        assert np.isfinite(operator.logdet())


def test_indefinite_operators():
    indefinite = Dense(np.diag([2.0, -1.0]))
    np.testing.assert_allclose(indefinite.solve(np.ones(2)), [0.5, -1.0])
    for operation in (
        lambda: indefinite.logdet(),
        lambda: indefinite.power(0.5),
        lambda: indefinite.sample(cv.backend("numpy").rng(0), 1),
    ):
        with pytest.raises(cv.NotPositiveDefiniteError, match="smallest eigenvalue is -1"):
            operation()
    free = MatrixFree(lambda v: -v, 2, dtype=np.float64, backend=cv.backend("numpy"))
    with pytest.raises(cv.NotPositiveDefiniteError, match="curvature -1"):
        free.solve(np.ones(2))


@pytest.mark.parametrize("damping", [-1.0, float("nan"), float("inf")])
def test_damping_is_a_finite_number_not_below_zero(damping):
    with pytest.raises(ValueError, match="finite number ≥ 0"):
        Diagonal(np.ones(2)).solve(np.ones(2), damping=damping)


def test_the_block_of_a_parameter_is_its_part_of_the_matrix(be, generator):
    """By the name of a block, or of a parameter inside of a joined one."""
    space = cv.ParameterSpace.of({"b": np.zeros(2), "w": np.zeros((2, 3)), "z": np.zeros(1)})
    joined = Block("w+b", (1, 0), ((2, 3), (2, 1)), axis=1)
    partition = Partition(space, (joined, Block("z", (2,), ((1, 1),))))
    factors = [m @ m.T for m in (generator.standard_normal((2, 2)), generator.standard_normal((4, 4)))]
    blocks = {"w+b": Kronecker([be.asarray(f) for f in factors]), "z": Diagonal(be.asarray(np.ones(1)))}
    operator = BlockDiagonal(blocks, partition=partition)
    dense = be.to_numpy(operator.to_dense())
    for name, start, stop in (("b", 0, 2), ("w", 2, 8), ("z", 8, 9)):
        np.testing.assert_allclose(be.to_numpy(operator.block(name).to_dense()), dense[start:stop, start:stop])
    assert operator.block("w+b") is operator.blocks["w+b"]
    with pytest.raises(cv.ShapeError, match=r"'x'; there are: w\+b, z, b, w"):
        operator.block("x")


@pytest.mark.parametrize("make", [lambda: Diagonal(np.ones(2)), lambda: Dense(np.eye(2)), lambda: Kronecker([np.eye(2)])])
def test_damping_is_one_number_of_any_kind(make):
    operator = make()
    expected = operator.solve(np.ones(2), damping=0.5)
    for damping in (np.float32(0.5), np.float64(0.5), np.array(0.5)):
        np.testing.assert_array_equal(operator.solve(np.ones(2), damping=damping), expected)
        np.testing.assert_allclose(operator.power(-1, damping=damping).to_dense() @ np.ones(2), expected, rtol=1e-14)
    for damping in (np.float32(-1), np.array(-1.0), np.float32("nan")):
        with pytest.raises(ValueError, match="finite number"):
            operator.solve(np.ones(2), damping=damping)
    with pytest.raises(cv.ShapeError, match="damping is one number"):
        operator.solve(np.ones(2), damping=np.ones(2))


def test_a_damping_of_numpy_does_not_promote(be):
    operator = Diagonal(be.asarray(np.ones(2), dtype="float32"))
    solved = operator.solve(be.asarray(np.ones(2), dtype="float32"), damping=np.float64(0.5))
    assert be.to_numpy(solved).dtype == np.float32


@pytest.mark.parametrize("size", [1e-320, 1e-24, 1e-170, 1e25, 1e170])
def test_conjugate_gradients_at_any_scale(size):
    free = MatrixFree(lambda v: 2.0 * v, 3, dtype=np.float64, backend=cv.backend("numpy"))
    np.testing.assert_allclose(free.solve(np.full(3, size)), size / 2, rtol=1e-3 if size < 1e-300 else 1e-7)
    assert np.all(free.solve(np.zeros(3)) == 0)
    assert free.solve(np.ones((3, 0))).shape == (3, 0)


def test_conjugate_gradients_refuse_what_is_not_finite():
    free = MatrixFree(lambda v: 2.0 * v, 3, dtype=np.float64, backend=cv.backend("numpy"))
    for bad in (np.nan, np.inf):
        with pytest.raises(cv.DataError, match="right-hand side holds NaN"):
            free.solve(np.array([1.0, bad, 1.0]))
    broken = MatrixFree(lambda v: v * np.nan, 3, dtype=np.float64, backend=cv.backend("numpy"))
    with pytest.raises(cv.DataError, match="product of the operator"):
        broken.solve(np.ones(3))


def test_operators_of_other_parameters_do_not_mix():
    a, b = (Diagonal(np.ones(2), space=cv.ParameterSpace.of({name: np.ones(2)})) for name in "ab")
    with pytest.raises(cv.ShapeError, match="different parameters: a and b"):
        a + b


def test_arrays_of_another_library_or_dtype_are_refused():
    with pytest.raises(cv.MixedBackendError, match=r"'torch' met a numpy.ndarray"):
        Diagonal(np.ones(2)).to("torch") @ np.ones(2)
    with pytest.raises(cv.MixedBackendError, match="float64 met an array of float32"):
        Diagonal(np.ones(2)) @ np.ones(2, dtype=np.float32)
    with pytest.raises(cv.DataError, match="real floating numbers"):
        Dense(np.eye(2, dtype=int))


def test_kronecker_products_of_factors_that_are_not_symmetric(generator):
    a, b = generator.standard_normal((2, 2)), generator.standard_normal((3, 3))
    with pytest.warns(cv.DensifiedWarning):
        solved = Kronecker([a, b]).solve(np.ones(6), damping=0.1)
    np.testing.assert_allclose(solved, np.linalg.solve(np.kron(a, b) + 0.1 * np.eye(6), np.ones(6)))


def test_a_partition_takes_every_parameter_once():
    space = cv.ParameterSpace.of({"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(cv.ShapeError, match=r"missing: \['b'\]"):
        Partition(space, (Block("a", (0,), ((2, 1),)),))
    with pytest.raises(cv.ShapeError, match=r"repeated: \['a'\]"):
        Partition(space, (Block("x", (0, 1), ((2, 1), (3, 1))), Block("y", (0,), ((2, 1),))))


def test_an_operator_that_holds_nan_is_refused():
    with pytest.raises(cv.DataError, match="NaN or infinite"):
        Dense(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_operators_of_two_libraries_do_not_mix():
    torch_operator = Diagonal(np.ones(2)).to("torch")
    with pytest.raises(cv.MixedBackendError, match="numpy"):
        torch_operator + Diagonal(np.ones(2))


def test_a_solve_with_one_damping_does_not_answer_for_another():
    """The Cholesky factor of the last damping is kept: it must not serve another."""
    operator = Dense(np.diag([1.0, 2.0]))
    first = operator.solve(np.ones(2), damping=1.0)
    second = operator.solve(np.ones(2), damping=2.0)
    np.testing.assert_allclose(first, [1 / 2, 1 / 3])
    np.testing.assert_allclose(second, [1 / 3, 1 / 4])
