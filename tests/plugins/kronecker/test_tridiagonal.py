"""K-FAC with a block-tridiagonal inverse, against the dense matrices of Martens and Grosse (2015), §4.3."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Kronecker
from curvature_kronecker.coupling import Coupling
from curvature_kronecker.tridiagonal import TridiagonalKFAC
from curvature_kronecker.tridiagonal_operator import BlockTridiagonal, BlockTridiagonalInverse


def chain(be, rng, sizes=(3, 3, 2, 2), n=12, activation=True, likelihood=None, weights=None, reduction="mean", bias=True):
    """Weights stored (d_in, d_out) and (d_out, d_in) by turns; names in another order than the uses."""

    def apply(params, x):
        xp = cv.namespace(x)
        for i in range(len(sizes) - 1):
            w = params[f"z{len(sizes) - i}"]["w"]
            x = x @ (w if i % 2 else xp.matrix_transpose(w))
            x = x + params[f"z{len(sizes) - i}"]["b"] if bias else x
            x = xp.tanh(x) if activation and i < len(sizes) - 2 else x
        return x

    params = {}
    for i, (d_in, d_out) in enumerate(pairwise(sizes)):
        layer = {"w": be.asarray(rng.standard_normal((d_in, d_out) if i % 2 else (d_out, d_in)))}
        params[f"z{len(sizes) - i}"] = layer | ({"b": be.asarray(rng.standard_normal(d_out))} if bias else {})
    x = rng.standard_normal((n, sizes[0]))
    y = rng.integers(0, sizes[-1], n) if likelihood is None else rng.standard_normal((n, sizes[-1]))
    data = (be.asarray(x), be.asarray(y)) if weights is None else (be.asarray(x), be.asarray(y), be.asarray(weights))
    return cv.Problem(cv.Model(apply, params), likelihood or cv.Categorical(), data, reduction=reduction)


def in_order(structure):
    """Flat positions of each layer's parameters as (d_out, d_in), by their first use."""
    places = structure.partition.gather(np, np.arange(structure.space.size)[:, None])
    found = {}
    for layer, place in zip(structure.layers, places, strict=True):
        matrix = place.reshape(layer.block.shape)
        found[min(layer.uses)] = (layer, (matrix if layer.transposed else matrix.T).ravel())
    return [found[use] for use in sorted(found)]


def full_kfac(matrix, gamma=0.0):
    """F̃ with F̃_ij = G_ij ⊗ Ā_ij for vectors (d_out, d_in), from the layers' inputs and cotangents by loops."""
    be, problem = matrix.backend, matrix.problem
    (batch,) = problem.batches()
    evaluation = problem.evaluate(batch)
    by_name = {v.layer.name: v for v in evaluation.layers(matrix.output_factor(evaluation))}
    weights = np.full(batch.size, 1 / batch.size) if batch.weights is None else be.to_numpy(evaluation.weights)
    rows = []
    for layer, _ in in_order(problem.structure):
        values = by_name[layer.name]
        rows.append([be.to_numpy(values.augmented_inputs)[:, 0, :], be.to_numpy(values.cotangents)[:, 0, :, :]])
    blocks = []
    for i, (a, g) in enumerate(rows):
        line = []
        for j, (b, h) in enumerate(rows):
            first, second = np.einsum("n,ni,nj->ij", weights, a, b), np.einsum("nir,njr->ij", g, h)
            if i == j and gamma:
                pi = np.sqrt(np.trace(first) / len(first) / (np.trace(second) / len(second)))
                first = first + gamma * pi * np.eye(len(first))
                second = second + gamma / pi * np.eye(len(second))
            line.append(np.kron(second, first))
        blocks.append(line)
    return blocks


def arranged(operator, structure):
    """The dense operator by layers in order, (d_out, d_in) each."""
    dense = operator.backend.to_numpy(operator.to_dense())
    places = [place for _, place in in_order(structure)]
    return [[dense[np.ix_(one, other)] for other in places] for one in places]


def close(found, expected, tolerance=1e-10):
    assert np.shape(found) == np.shape(expected)
    assert np.max(np.abs(found - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda task: cv.MonteCarloFisher(task, samples=2, seed=3)]


@pytest.mark.parametrize("gamma", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
def test_it_agrees_with_kfac_on_the_three_diagonals(be, generator, kind, gamma):
    """The defining property of F̂."""
    matrix = kind(chain(be, generator, (3, 3, 2, 2, 2)))
    structure = matrix.problem.structure
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=gamma))
    assert isinstance(operator, BlockTridiagonalInverse)
    found, expected = arranged(operator, structure), full_kfac(matrix, gamma)
    scale = max(np.abs(block).max() for line in expected for block in line)
    for i in range(4):
        for j in range(4):
            if abs(i - j) <= 1:
                close(found[i][j] / scale, expected[i][j] / scale)
            elif gamma:
                assert np.abs(found[i][j] - expected[i][j]).max() > 1e-6 * scale


def test_the_inverse_is_block_tridiagonal(be, generator):
    matrix = cv.Fisher(chain(be, generator, (3, 3, 2, 2, 2)))
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=0.1))
    dense = be.to_numpy(operator.to_dense())
    inverse = operator.inverse()
    assert isinstance(inverse, BlockTridiagonal)
    close(be.to_numpy(inverse.to_dense()), np.linalg.inv(dense), 1e-9)
    blocks = arranged(inverse, matrix.problem.structure)
    largest = max(np.abs(block).max() for line in blocks for block in line)
    for i in range(4):
        for j in range(4):
            if abs(i - j) > 1:
                assert np.abs(blocks[i][j]).max() <= 1e-12 * largest
            else:
                assert np.abs(blocks[i][j]).max() > 1e-6 * largest


def test_the_formulas_of_the_paper(be, generator):
    """F̂⁻¹ = Ξᵀ Λ Ξ with dense Ψ and Σ."""
    matrix = cv.Fisher(chain(be, generator, (3, 3, 2, 2, 2)))
    f = full_kfac(matrix, gamma=0.2)
    psi = [f[i][i + 1] @ np.linalg.inv(f[i + 1][i + 1]) for i in range(3)]
    sigma = [f[i][i] - psi[i] @ f[i + 1][i + 1] @ psi[i].T for i in range(3)] + [f[3][3]]
    sizes = np.cumsum([0, *(len(line[0]) for line in f)])
    xi, middle = np.eye(sizes[-1]), np.zeros((sizes[-1], sizes[-1]))
    for i in range(4):
        here = slice(sizes[i], sizes[i + 1])
        middle[here, here] = np.linalg.inv(sigma[i])
        if i < 3:
            xi[here, sizes[i + 1] : sizes[i + 2]] = -psi[i]
    expected = xi.T @ middle @ xi
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=0.2))
    close(np.block(arranged(operator.inverse(), matrix.problem.structure)), expected, 1e-9)
    close(np.block(arranged(operator, matrix.problem.structure)), np.linalg.inv(expected), 1e-9)


@pytest.mark.parametrize("bias", [True, False])
def test_the_whole_fisher_of_a_deep_linear_network_with_squared_error(be, generator, bias):
    """ā_i and g_i are linear maps of their neighbours and g does not depend on the example: F̂ = F̃ = F, blocks far apart too.

    The factors are singular here: rank(G_i) is at most the least width.
    """
    task = chain(be, generator, (3, 4, 3, 2, 3), activation=False, likelihood=cv.Gaussian(0.5), bias=bias)
    for kind in (cv.Fisher, cv.GGN):
        expected = be.to_numpy(kind(task).to_dense())
        found = be.to_numpy(cv.approximate(kind(task), TridiagonalKFAC()).to_dense())
        close(found / np.abs(expected).max(), expected / np.abs(expected).max())


def test_one_example_of_two_layers(be, generator):
    """F_ij = ā_i ā_jᵀ ⊗ Σ_r g_i g_jᵀ is a product, and two layers have no blocks far apart."""
    for kind in KINDS:
        matrix = kind(chain(be, generator, (3, 3, 2), n=1))
        found, expected = (be.to_numpy(m.to_dense()) for m in (cv.approximate(matrix, TridiagonalKFAC()), matrix))
        close(found / np.abs(expected).max(), expected / np.abs(expected).max(), 1e-9)


def test_two_layers_are_the_whole_of_kfacs_matrix(be, generator):
    matrix = cv.Fisher(chain(be, generator, (3, 4, 2)))
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=0.1))
    close(np.block(arranged(operator, matrix.problem.structure)), np.block(full_kfac(matrix, 0.1)))


def test_one_layer_is_kfac(be, generator):
    matrix = cv.Fisher(chain(be, generator, (3, 4)))
    for gamma in (0.0, 0.3):
        one, two = (cv.approximate(matrix, m) for m in (TridiagonalKFAC(gamma=gamma), cv.approximation("kfac", gamma=gamma)))
        np.testing.assert_allclose(be.to_numpy(one.to_dense()), be.to_numpy(two.to_dense()), atol=1e-15)


def test_operations_against_the_dense_matrix(be, generator, recwarn):
    """Without damping and without a dense matrix."""
    matrix = cv.Fisher(chain(be, generator))
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=0.3))
    dense = be.to_numpy(operator.to_dense())
    v = generator.standard_normal((len(dense), 2))
    close(be.to_numpy(operator @ be.asarray(v)), dense @ v)
    close(be.to_numpy(operator.T @ be.asarray(v[:, 0])), dense.T @ v[:, 0])
    close(be.to_numpy(operator.solve(be.asarray(v))), np.linalg.solve(dense, v), 1e-9)
    close(be.to_numpy(operator.power(-1).to_dense()), np.linalg.inv(dense), 1e-9)
    close(float(operator.logdet()), np.linalg.slogdet(dense)[1], 1e-9)
    close(float(operator.trace()), np.trace(dense))
    close(be.to_numpy(operator.diagonal()), np.diag(dense))
    close(float(operator.norm()), np.linalg.norm(dense))
    inverse = operator.inverse()
    close(be.to_numpy(inverse @ be.asarray(v)), np.linalg.solve(dense, v), 1e-9)
    close(be.to_numpy(inverse.solve(be.asarray(v))), dense @ v, 1e-9)
    close(be.to_numpy(inverse.inverse().to_dense()), dense)
    close(be.to_numpy((inverse * 2.0).to_dense()), 2 * np.linalg.inv(dense), 1e-9)
    close(be.to_numpy((inverse * 2.0).inverse().to_dense()), dense / 2)
    close(be.to_numpy((operator * -2.0).to_dense()), -2 * dense)
    close(be.to_numpy((operator * -2.0).solve(be.asarray(v))), np.linalg.solve(-2 * dense, v), 1e-9)
    assert not [w for w in recwarn if issubclass(w.category, cv.DensifiedWarning)]
    for moved in (operator.to("numpy"), inverse.to("numpy")):
        close(moved.to_dense(), dense if isinstance(moved, BlockTridiagonalInverse) else np.linalg.inv(dense), 1e-9)
    step = operator.solve(matrix.problem.gradient())
    flat = be.to_numpy(matrix.space.ravel(be.xp, matrix.problem.gradient()))
    close(be.to_numpy(matrix.space.ravel(be.xp, step)), np.linalg.solve(dense, flat), 1e-9)


def test_damping_is_exact(be, generator):
    operator = cv.approximate(cv.Fisher(chain(be, generator)), TridiagonalKFAC())
    dense = be.to_numpy(operator.to_dense())
    shifted = dense + 0.2 * np.eye(len(dense))
    v = generator.standard_normal(len(dense))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.DensifiedWarning)
        close(be.to_numpy(operator.solve(be.asarray(v), damping=0.2)), np.linalg.solve(shifted, v), 1e-9)
        close(be.to_numpy(operator.inverse(0.2).to_dense()), np.linalg.inv(shifted), 1e-9)
        close(float(operator.logdet(0.2)), np.linalg.slogdet(shifted)[1], 1e-9)
        root = be.to_numpy(operator.power(0.5, 0.2).to_dense())
        close(root @ root, shifted, 1e-9)
        values = be.to_numpy(operator.eigh()[0])
        assert values[0] >= -1e-12 * values[-1]  # F̂ is positive semidefinite


def test_singular_factors_name_the_layer_and_the_damping(be, generator):
    operator = cv.approximate(cv.Fisher(chain(be, generator)), TridiagonalKFAC())  # softmax: G has a null vector
    for call in (
        lambda: operator.solve(be.asarray(np.ones(operator.shape[0]))),
        operator.inverse,
        operator.logdet,
    ):
        with pytest.raises(cv.SingularMatrixError, match=r"block of 'z.*gamma=\.\.\. of 'kfac-tridiagonal'"):
            call()


def test_weights_batches_and_reduction(be, generator):
    weights = np.concatenate([[0.0, 2.0], np.ones(10)])
    matrix = cv.Fisher(chain(be, generator, weights=weights, reduction="sum"))
    found, expected = arranged(cv.approximate(matrix, TridiagonalKFAC()), matrix.problem.structure), full_kfac(matrix)
    close(found[0][1], expected[0][1])
    close(found[2][1], expected[2][1])
    task = chain(be, generator)
    x, y = task.data.single.x, task.data.single.y
    batched = task.at(data=[(x[:5, ...], y[:5]), (x[5:, ...], y[5:])])
    one, two = (cv.approximate(cv.Fisher(t), TridiagonalKFAC()).to_dense() for t in (task, batched))
    close(be.to_numpy(one), be.to_numpy(two))
    parts = [cv.estimate(cv.Fisher(task.at(data=(x[s, ...], y[s]))), TridiagonalKFAC(), be) for s in (slice(0, 5), slice(5, 12))]
    merged = TridiagonalKFAC().merge(parts, [5 / 12, 7 / 12])
    close(be.to_numpy(cv.build(TridiagonalKFAC(), merged, task.structure).to_dense()), be.to_numpy(one))


def mixed(be, rng):
    """dense, scale, dense | shared positions | dense, dense: two chains, and blocks of their own."""

    def apply(params, x):
        xp = cv.namespace(x)
        h = xp.tanh(x @ params["a"]) * params["s"]
        h = xp.tanh(h @ params["b"])
        h = xp.mean(xp.tanh(xp.reshape(h, (h.shape[0], 2, 2)) @ params["c"]), axis=1)
        return xp.tanh(h @ params["d"]) @ params["e"]

    shapes = {"a": (2, 3), "s": (3,), "b": (3, 4), "c": (2, 3), "d": (3, 2), "e": (2, 2)}
    params = {name: be.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
    data = (be.asarray(rng.standard_normal((8, 2))), be.asarray(rng.integers(0, 2, 8)))
    return cv.Problem(cv.Model(apply, params), cv.Categorical(), data)


def test_other_layers_get_their_own_blocks_and_shared_ones_end_a_chain(be, generator):
    matrix = cv.Fisher(mixed(be, generator))
    operator = cv.approximate(matrix, TridiagonalKFAC(gamma=0.1))
    assert [(c.upper, c.lower) for c in operator.couplings] == [("a", "b"), ("d", "e")]
    kfac = cv.approximate(matrix, "kfac", gamma=0.1)
    for name in "asbcde":
        np.testing.assert_allclose(
            be.to_numpy(operator.block(name).to_dense()), be.to_numpy(kfac.block(name).to_dense()), rtol=1e-12, atol=1e-14
        )
    dense, space = be.to_numpy(operator.to_dense()), matrix.space
    places = {n: slice(space.offsets[i], space.offsets[i + 1]) for i, n in enumerate(space.names)}
    coupled = {(one, other) for one in "asbcde" for other in "asbcde" if np.abs(dense[places[one], places[other]]).max() > 1e-9}
    assert coupled == {(n, n) for n in "asbcde"} | {("a", "b"), ("b", "a"), ("d", "e"), ("e", "d")}
    v = generator.standard_normal(len(dense))
    close(be.to_numpy(operator.solve(be.asarray(v))), np.linalg.solve(dense, v), 1e-9)
    close(float(operator.norm()), np.linalg.norm(dense))


def test_batches_with_other_chains_are_refused(generator):
    be = cv.backend("numpy")

    def apply(params, x):
        xp = cv.namespace(x)
        h = xp.tanh(x @ params["a"] + params["b"]) @ params["c"]
        return h if h.ndim == 2 else xp.mean(h, axis=1)

    params = {"a": np.ones((2, 3)), "b": np.zeros(3), "c": np.ones((3, 2))}
    data = [(generator.standard_normal(shape), np.array([0, 1])) for shape in ((2, 2), (2, 3, 2))]
    matrix = cv.Fisher(cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data))
    with pytest.raises(cv.ModelError, match=r"batch 1: .*no one chain of layers; take 'kfac'"):
        cv.approximate(matrix, TridiagonalKFAC())


def test_an_optimiser_damps_the_factors(be, generator):
    task = chain(be, generator)
    step, rest = TridiagonalKFAC().damped(0.09)
    assert (step.gamma, rest) == (pytest.approx(0.3), 0.0)
    opt = cv.NaturalGradient(TridiagonalKFAC(), damping=0.09, learning_rate=1.0)
    params, _, _ = opt.step(task.params, opt.init(task))
    dense = be.to_numpy(cv.approximate(cv.Fisher(task), TridiagonalKFAC(gamma=0.3)).to_dense())
    xp, space = be.xp, task.space
    theta, gradient = (be.to_numpy(space.ravel(xp, tree)) for tree in (task.params, task.gradient()))
    close(be.to_numpy(space.ravel(xp, params)), theta - np.linalg.solve(dense, gradient), 1e-8)


def test_a_coupled_block_is_a_product(generator):
    eye = Dense(np.eye(4))
    with pytest.raises(cv.ShapeError, match="block 'b' is coupled"):
        BlockTridiagonalInverse(
            BlockDiagonal({"a": Kronecker([np.eye(2), np.eye(2)]), "b": eye}), [Coupling("a", "b", np.eye(2), np.eye(2))]
        )


def test_a_hessian_is_refused(generator):
    with pytest.raises(cv.UnsupportedError, match="'kfac-tridiagonal' is not defined for a Hessian"):
        cv.approximate(cv.Hessian(chain(cv.backend("numpy"), generator)), TridiagonalKFAC())


@pytest.mark.parametrize("options", [{"damping": "some"}, {"gamma": -1.0}])
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="kfac-tridiagonal: "):
        TridiagonalKFAC(**options)


def test_saved_and_loaded_on_another_library(be, generator, tmp_path):
    operator = cv.approximate(cv.Fisher(chain(be, generator)), TridiagonalKFAC(gamma=0.1))
    v = generator.standard_normal(operator.shape[0])
    for found in (operator, operator.inverse().scaled(2.0)):
        cv.save(found, tmp_path / "x")
        loaded = cv.load(tmp_path / "x", backend="torch")
        assert type(loaded) is type(found)
        expected = be.to_numpy(found @ be.asarray(v))
        np.testing.assert_allclose(loaded.backend.to_numpy(loaded @ loaded.backend.asarray(v)), expected, rtol=1e-12, atol=1e-14)
