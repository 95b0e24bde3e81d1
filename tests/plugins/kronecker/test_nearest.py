"""The nearest Kronecker products against singular values of the dense, rearranged block (MATH §1.10)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature import nn
from curvature.operators import Dense, Kronecker, KroneckerEigen, KroneckerSum
from curvature_kronecker.nearest import NearestKronecker

FISHERS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda task: cv.MonteCarloFisher(task, samples=2, seed=1)]


def mlp(params, x):
    xp = cv.namespace(x)
    h = xp.tanh(x @ params["a"]["w"] + params["a"]["b"])
    h = xp.tanh(h @ xp.matrix_transpose(params["b"]["w"]) + params["b"]["b"])
    return h @ params["c"]["w"]


def sizes(be, rng, shapes):
    return {name: {key: be.asarray(rng.standard_normal(shape)) for key, shape in layer.items()} for name, layer in shapes.items()}


def network(be, rng, n=7, weights=None, reduction="mean", likelihood=None):
    """Both layouts of a weight, with and without a bias."""
    params = sizes(be, rng, {"a": {"w": (3, 4), "b": (4,)}, "b": {"w": (3, 4), "b": (3,)}, "c": {"w": (3, 3)}})
    x, y = rng.standard_normal((n, 3)), rng.integers(0, 3, n)
    data = (be.asarray(x), be.asarray(y)) if weights is None else (be.asarray(x), be.asarray(y), be.asarray(weights))
    return cv.Problem(cv.Model(mlp, params), likelihood or cv.Categorical(), data, reduction=reduction)


def shared(be, rng, positions=3, n=5, width=2):
    """Weights that are shared over positions, nonlinearly."""

    def apply(params, x):
        xp = cv.namespace(x)
        h = xp.tanh(x @ params["a"]["w"] + params["a"]["b"])
        return xp.mean(xp.tanh(h @ xp.matrix_transpose(params["b"]["w"])), axis=1)

    params = sizes(be, rng, {"a": {"w": (width, 3), "b": (3,)}, "b": {"w": (3, 3)}})
    x, y = be.asarray(rng.standard_normal((n, positions, width))), be.asarray(rng.integers(0, 3, n))
    return cv.Problem(cv.Model(apply, params), cv.Categorical(), (x, y))


def embedded(be, rng, n=6):
    def apply(params, x):
        xp = cv.namespace(params["w"])
        rows = xp.take(params["e"], xp.reshape(x, (-1,)), axis=0)
        h = xp.tanh(xp.reshape(rows, (x.shape[0], x.shape[1], 3)))
        return xp.sum(h, axis=1) @ params["w"]

    params = {"e": be.asarray(rng.standard_normal((5, 3))), "w": be.asarray(rng.standard_normal((3, 2)))}
    x, y = be.asarray(rng.integers(0, 4, (n, 3))), be.asarray(rng.integers(0, 2, n))
    return cv.Problem(cv.Model(apply, params), cv.Categorical(), (x, y))


def layer_blocks(matrix):
    """{layer: (dense block as (d_out, d_in, d_out, d_in), layer)}."""
    be, structure = matrix.backend, matrix.problem.structure
    dense = be.to_numpy(matrix.to_dense())
    found = {}
    for layer, rows in zip(structure.layers, structure.partition.gather(np, np.arange(len(dense))[:, None]), strict=True):
        part = dense[np.ix_(rows[:, 0], rows[:, 0])].reshape(*layer.block.shape, *layer.block.shape)
        turned = layer.kind == "embedding" or not layer.transposed
        found[layer.name] = part.transpose(1, 0, 3, 2) if turned else part
    return found


def singular_values(block):
    """Of the rearrangement restricted to symmetric matrices: R(M) between orthonormal bases of them."""

    def basis(d):
        vectors = []
        for i in range(d):
            for j in range(i + 1):
                e = np.zeros((d, d))
                e[i, j] = e[j, i] = 1.0
                vectors.append(e.ravel() / np.linalg.norm(e))
        return np.array(vectors)

    o, i = block.shape[:2]
    rearranged = block.transpose(0, 2, 1, 3).reshape(o * o, i * i)
    return np.linalg.svd(basis(o) @ rearranged @ basis(i).T, compute_uv=False)


def errors(matrix, **options):
    """{layer: ‖M - Σ A ⊗ G‖}."""
    be, operator = matrix.backend, cv.approximate(matrix, options.pop("method", None) or NearestKronecker(**options))
    result, blocks = {}, layer_blocks(matrix)
    for layer in matrix.problem.structure.layers:
        block = blocks[layer.name]
        dense = be.to_numpy(operator.block(layer.name).to_dense())
        dense = dense.reshape(*layer.block.shape, *layer.block.shape)
        turned = layer.kind == "embedding" or not layer.transposed
        result[layer.name] = np.linalg.norm((dense.transpose(1, 0, 3, 2) if turned else dense) - block)
    return result


def check_against_singular_values(matrix, rank, iterations=40):
    found = errors(matrix, rank=rank, iterations=iterations, tolerance=1e-14)
    for name, block in layer_blocks(matrix).items():
        total = np.sum(block**2)
        least = total - np.sum(singular_values(block)[:rank] ** 2)
        assert abs(found[name] ** 2 - least) <= 1e-9 * total, name


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", FISHERS)
def test_the_error_is_that_of_the_singular_values_left_out(be, generator, kind, rank):
    check_against_singular_values(kind(network(be, generator)), rank)


@pytest.mark.parametrize(("positions", "width"), [(2, 2), (2, 6), (9, 2)])
def test_weights_shared_over_positions(be, generator, positions, width):
    """Few positions go through pairs of them, many through gradients of each example."""
    matrix = cv.Fisher(shared(be, generator, positions, width=width))
    for rank in (1, 2):
        check_against_singular_values(matrix, rank)
    for name, block in layer_blocks(matrix).items():
        # One product: the nearest of all, not only of those with symmetric factors.
        o, i = block.shape[:2]
        all_values = np.linalg.svd(block.transpose(0, 2, 1, 3).reshape(o * o, i * i), compute_uv=False)
        np.testing.assert_allclose(all_values[0], singular_values(block)[0], rtol=1e-12, err_msg=name)


def test_convolutions_with_and_without_groups(be, generator):
    def apply(params, x):
        xp = cv.namespace(x)
        h = xp.tanh(nn.conv2d(x, params["w"], params["b"], groups=2))
        h = xp.tanh(nn.conv2d(h, params["v"]))
        return xp.mean(xp.mean(h, axis=3), axis=2)

    params = {"w": (4, 1, 2, 2), "b": (4,), "v": (3, 4, 1, 2)}
    params = {key: be.asarray(generator.standard_normal(shape)) for key, shape in params.items()}
    x, y = be.asarray(generator.standard_normal((3, 2, 3, 4))), be.asarray(generator.integers(0, 3, 3))
    task = cv.Problem(cv.Model(apply, params), cv.Categorical(), (x, y))
    assert {layer.kind for layer in task.structure.layers} == {"affine", "grouped"}
    for rank in (1, 2):
        check_against_singular_values(cv.Fisher(task), rank)


def test_an_embedding_keeps_a_diagonal(be, generator):
    task = embedded(be, generator)
    matrix = cv.Fisher(task)
    operator = cv.approximate(matrix, NearestKronecker(iterations=100, tolerance=1e-15, rank=2))
    block = operator.block("e")
    assert isinstance(block, KroneckerEigen)
    dense = layer_blocks(matrix)["e"]  # (d_out, rows, d_out, rows)
    by_row = np.stack([dense[:, v, :, v] for v in range(5)])
    values = np.linalg.svd(by_row.reshape(5, 9), compute_uv=False)
    found = be.to_numpy(block.to_dense())
    error = np.linalg.norm(found - dense.transpose(1, 0, 3, 2).reshape(15, 15))
    np.testing.assert_allclose(error**2, np.linalg.norm(dense) ** 2 - values[0] ** 2, rtol=1e-8)
    assert error < errors(matrix, method="kfac")["e"]


@pytest.mark.parametrize("kind", FISHERS)
def test_exact_where_the_block_is_a_product(be, generator, kind):
    assert max(errors(kind(network(be, generator, n=1))).values()) < 1e-12

    def linear(params, x):
        return (x @ params["a"]["w"] + params["a"]["b"]) @ params["b"]["w"] + params["b"]["b"]

    params = sizes(be, generator, {"a": {"w": (3, 4), "b": (4,)}, "b": {"w": (4, 2), "b": (2,)}})
    data = (be.asarray(generator.standard_normal((6, 3))), be.asarray(generator.standard_normal((6, 2))))
    task = cv.Problem(cv.Model(linear, params), cv.Gaussian(0.5), data)
    for one in (cv.Fisher, cv.GGN):
        assert max(errors(one(task)).values()) < 1e-12


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10_000), step=st.floats(1e-4, 1.0))
def test_no_product_is_nearer_and_kfac_is_not(seed, step):
    """One iteration is at least as near as K-FAC; in the end nothing that is tried is nearer."""
    rng, be = np.random.default_rng(seed), cv.backend("numpy")
    matrix = cv.Fisher(network(be, rng, n=int(rng.integers(2, 9))))
    kfac, one, best = errors(matrix, method="kfac"), errors(matrix, iterations=1), errors(matrix, iterations=300, tolerance=1e-15)
    operator = cv.approximate(matrix, NearestKronecker(iterations=300, tolerance=1e-15))
    blocks = layer_blocks(matrix)
    for layer in matrix.problem.structure.layers:
        name, block = layer.name, blocks[layer.name]
        slack = 1e-12 * np.linalg.norm(block)
        assert best[name] <= one[name] + slack <= kfac[name] + 2 * slack
        factors = [factor.array for factor in operator.block(name).factors]
        g, a = factors if layer.transposed else reversed(factors)
        others = [f + step * np.linalg.norm(f) * rng.standard_normal(f.shape) for f in (g, a)]
        other = np.einsum("ij,kl->ikjl", *others)
        assert best[name] <= np.linalg.norm(block - other) + slack


def test_factors_are_symmetric_and_positive_at_every_iteration(be, generator):
    matrix = cv.Fisher(network(be, generator))
    for iterations in (1, 2, 20):
        operator = cv.approximate(matrix, NearestKronecker(iterations=iterations))
        for block in operator.blocks.values():
            assert isinstance(block, Kronecker)
            for factor in block.factors:
                array = be.to_numpy(factor.array)
                np.testing.assert_array_equal(array, array.T)
                values = np.linalg.eigvalsh(array)
                assert values[0] >= -1e-13 * values[-1]
                assert values[-1] > 0


def test_errors_fall_with_the_rank(be, generator):
    matrix = cv.Fisher(network(be, generator))
    by_rank = [errors(matrix, rank=rank, iterations=10) for rank in (1, 2, 3, 4)]
    first = next(iter(by_rank[0]))
    found = [error[first] for error in by_rank]
    assert all(later < 0.9 * earlier for earlier, later in pairwise(found))
    operator = cv.approximate(matrix, NearestKronecker(rank=2))
    assert all(isinstance(block, KroneckerSum) for block in operator.blocks.values())
    # A rank beyond that of any symmetric matrix is cut off, and exact where there are no shared positions.
    assert max(errors(matrix, rank=50, iterations=40).values()) < 1e-9


def test_ekfac_may_be_exact_where_the_nearest_product_is_not(be, generator):
    """MATH §0.4: a diagonal block whose diagonal, as a matrix (d_out, d_in), has a rank above one."""
    scales = np.array([1.0, 2.0, 3.0, 0.5])
    weight = generator.standard_normal((3, 4))
    data = (be.asarray(np.diag(scales)), be.asarray((generator.uniform(size=(4, 3)) < 0.5).astype(float)))
    model = cv.Model(lambda params, x: x @ cv.namespace(x).matrix_transpose(params), be.asarray(weight))
    matrix = cv.Fisher(cv.Problem(model, cv.Bernoulli(), data))
    dense = be.to_numpy(matrix.to_dense())
    np.testing.assert_allclose(dense, np.diag(np.diag(dense)), atol=1e-15)  # E-KFAC with its basis the unit vectors is exact
    p = 1 / (1 + np.exp(-weight * scales))
    table = p * (1 - p) * scales**2 / 4
    np.testing.assert_allclose(np.diag(dense).reshape(3, 4), table, rtol=1e-10)
    left_out = np.sum(np.linalg.svd(table, compute_uv=False)[1:] ** 2)
    (error,) = errors(matrix, iterations=200, tolerance=1e-15).values()
    np.testing.assert_allclose(error**2, left_out, rtol=1e-8)
    assert left_out > 1e-4


def test_weights_batches_and_reduction(be, generator):
    weights = np.array([1.0, 0.0, 2.0, 1.0, 3.0, 0.5, 1.0])
    check_against_singular_values(cv.Fisher(network(be, generator, weights=weights, reduction="sum")), 2)
    task = network(be, generator)
    x, y = task.data.single.x, task.data.single.y
    batched = task.at(data=[(x[:3, ...], y[:3]), (x[3:, ...], y[3:])])
    for rank in (1, 2):
        one, two = (cv.approximate(cv.Fisher(t), NearestKronecker(rank=rank)).to_dense() for t in (task, batched))
        np.testing.assert_allclose(be.to_numpy(one), be.to_numpy(two), rtol=1e-9, atol=1e-13)


def test_singular_values_are_the_norms_of_the_factors(be, generator):
    matrix = cv.Fisher(network(be, generator))
    statistics = cv.estimate(matrix, NearestKronecker(rank=3, iterations=300, tolerance=1e-15), be)
    for name, block in layer_blocks(matrix).items():
        a, g = (be.to_numpy(statistics[name][key]) for key in ("A", "G"))
        norms = np.sqrt(np.sum(a**2, axis=(1, 2)) * np.sum(g**2, axis=(1, 2)))
        values = singular_values(block)[:3]
        np.testing.assert_allclose(norms, values, rtol=1e-6, atol=1e-9 * values[0])


@pytest.mark.parametrize("rank", [1, 2])
def test_merging_is_the_nearest_of_the_weighted_sum(be, generator, rank):
    method = NearestKronecker(rank=rank)
    tasks = [embedded(be, generator), embedded(be, generator)]
    parts = [cv.estimate(cv.Fisher(task), method, be) for task in tasks]
    merged = method.merge(parts, [0.25, 0.75])
    structure = tasks[0].structure
    one, two, both = (cv.build(method, statistics, structure) for statistics in (*parts, merged))
    for layer in structure.layers:
        rows, columns = layer.block.shape
        total = 0.25 * be.to_numpy(one.block(layer.name).to_dense()) + 0.75 * be.to_numpy(two.block(layer.name).to_dense())
        found = be.to_numpy(both.block(layer.name).to_dense())
        rearranged = total.reshape(rows, columns, rows, columns).transpose(0, 2, 1, 3).reshape(rows**2, columns**2)
        u, s, vt = np.linalg.svd(rearranged, full_matrices=False)
        keep = 1 if layer.kind == "embedding" else rank
        nearest = ((u[:, :keep] * s[:keep]) @ vt[:keep]).reshape(rows, rows, columns, columns).transpose(0, 2, 1, 3)
        np.testing.assert_allclose(found, nearest.reshape(found.shape), atol=1e-12 * np.linalg.norm(total))
    again = method.merge([parts[0], parts[0]], [0.5, 0.5])
    np.testing.assert_allclose(
        be.to_numpy(cv.build(method, again, structure).to_dense()), be.to_numpy(one.to_dense()), atol=1e-13
    )
    assert method.merges == "approximate"
    with pytest.raises(cv.DataError, match="one weight for each"):
        method.merge(parts, [1.0])


def test_layers_of_other_kinds_get_their_own_blocks(be, generator):
    def apply(params, x):
        return cv.namespace(x).tanh(x * params["s"]) @ params["w"]

    params = {"s": be.asarray(generator.standard_normal(3)), "w": be.asarray(generator.standard_normal((3, 2)))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    matrix = cv.Fisher(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    dense = be.to_numpy(matrix.to_dense())[:3, :3]
    block = cv.approximate(matrix, NearestKronecker()).block("s")
    np.testing.assert_allclose(be.to_numpy(block.to_dense()), dense, atol=1e-14)
    diagonal = cv.approximate(matrix, NearestKronecker(max_dense=2)).block("s")
    np.testing.assert_allclose(be.to_numpy(diagonal.to_dense()), np.diag(np.diag(dense)), atol=1e-14)


def test_factored_damping_makes_two_products_solvable(be, generator, recwarn):
    matrix = cv.Fisher(network(be, generator))
    method, rest = NearestKronecker(rank=2, damping="factored").damped(0.04)
    assert rest == 0.0
    operator = cv.approximate(matrix, method)
    v = generator.standard_normal(operator.shape[0])
    solved = be.to_numpy(operator.solve(be.asarray(v)))
    assert not [w for w in recwarn if issubclass(w.category, cv.DensifiedWarning)]
    np.testing.assert_allclose(be.to_numpy(operator.to_dense()) @ solved, v, atol=1e-9 * np.abs(v).max())
    plain, damped = (cv.approximate(matrix, NearestKronecker(gamma=gamma)) for gamma in (0.0, 0.2))
    name = next(iter(plain.blocks))
    for (g, a), (gd, ad) in [[[be.to_numpy(f.array) for f in op.block(name).factors] for op in (plain, damped)]]:
        pi = np.sqrt(np.trace(a) / len(a) / (np.trace(g) / len(g)))
        np.testing.assert_allclose(ad, a + pi * 0.2 * np.eye(len(a)), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(gd, g + 0.2 / pi * np.eye(len(g)), rtol=1e-12, atol=1e-15)


def test_a_dead_layer_is_zero(be):
    params = {"a": {"w": be.asarray(np.ones((2, 2))), "b": be.asarray(np.full(2, -100.0))}, "w": be.asarray(np.ones((2, 2)))}

    def apply(p, x):
        xp = cv.namespace(x)
        s = x @ p["a"]["w"] + p["a"]["b"]
        return xp.where(s > 0, s, xp.zeros_like(s)) @ p["w"]

    data = (be.asarray(np.ones((3, 2))), be.asarray(np.array([0, 1, 0])))
    matrix = cv.Fisher(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    for rank in (1, 2):
        assert np.abs(be.to_numpy(cv.approximate(matrix, NearestKronecker(rank=rank)).to_dense())).max() == 0.0


def test_float32_stays_float32(generator):
    for name in ("numpy", "torch"):
        be = cv.backend(name, dtype="float32")
        matrix = cv.Fisher(network(be, generator))
        operator = cv.approximate(matrix, NearestKronecker(rank=2))
        assert "float32" in str(operator.dtype)
        assert all("float32" in str(f.dtype) for b in operator.blocks.values() for term in b.terms for f in term.factors)


def test_a_seed_fixes_the_result(generator):
    matrix = cv.Fisher(network(cv.backend("numpy"), generator))
    method = NearestKronecker(rank=2, iterations=2)
    one, two, other = (cv.approximate(matrix, m).to_dense() for m in (method, method, replace(method, seed=1)))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0


@pytest.mark.parametrize(
    "options",
    [{"rank": 0}, {"iterations": 0}, {"oversampling": -1}, {"tolerance": -1.0}, {"projection": "some"}, {"rank": 1.5}],
)
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="kron-nearest: "):
        NearestKronecker(**options)


def test_a_sum_is_not_projected():
    with pytest.raises(cv.DataError, match="needs rank=1"):
        NearestKronecker(rank=2, projection="psd")


def test_the_dense_operator_of_a_projection_is_not_needed_for_a_fisher(be, generator):
    matrix = cv.Fisher(network(be, generator))
    plain, projected = (cv.approximate(matrix, NearestKronecker(projection=p)).to_dense() for p in ("none", "psd"))
    np.testing.assert_allclose(be.to_numpy(projected), be.to_numpy(plain), atol=1e-13)
    assert not any(isinstance(b, Dense) for b in cv.approximate(matrix, NearestKronecker(projection="psd")).blocks.values())
