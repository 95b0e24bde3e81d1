"""EKFAC: the identities of its eigenvalues, and what its bases are found from (MATH §1.8)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature.operators import Dense, Diagonal, KroneckerEigen
from curvature_conformance.cases.on_scenario import Case
from curvature_conformance.scenarios import all_scenarios
from curvature_conformance.setting import Setting

SCENARIOS = {scenario.name: scenario for scenario in all_scenarios()}
LAYERED = ("tanh-network/categorical", "convolutional-network/plain", "transformer/block")


def blocks(matrix, dense=None):
    """The diagonal blocks of the dense matrix, in each layer's layout."""
    be, structure = matrix.backend, matrix.problem.structure
    dense = be.to_numpy(matrix.to_dense()) if dense is None else dense
    order = structure.partition.gather(np, np.arange(dense.shape[0])[:, None])
    return {layer.name: dense[np.ix_(rows[:, 0], rows[:, 0])] for layer, rows in zip(structure.layers, order, strict=True)}


def basis_and_scales(be, block):
    """Q (square) and S of a block, in row-major order."""
    completed = block.completed()
    one, two = (np.eye(n) if q is None else be.to_numpy(q) for q, n in zip(completed.bases, completed.sizes, strict=True))
    return np.kron(one, two), be.to_numpy(completed.values).ravel()


def task_of(be, rng, n, sizes=(6, 5, 4), weights=None, activation=nn.relu):
    params = [
        {"weight": be.asarray(rng.standard_normal((o, i))), "bias": be.asarray(rng.standard_normal(o))}
        for i, o in pairwise(sizes)
    ]
    x, y = rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)
    data = (be.asarray(x), be.asarray(y)) if weights is None else (be.asarray(x), be.asarray(y), be.asarray(weights))
    return cv.Problem(cv.Model(lambda p, x: nn.mlp(p, x, activation), params), cv.Categorical(), data)


def split(task, *cuts):
    """The same examples in several batches: then factors are formed, and no basis is thin."""
    batch = task.data.single
    parts = [batch.x, batch.y] + ([] if batch.weights is None else [batch.weights])
    edges = [0, *cuts, batch.size]
    return task.at(data=[tuple(a[i:j, ...] for a in parts) for i, j in pairwise(edges)])


def dense_of(matrix, method="ekfac"):
    return matrix.backend.to_numpy(cv.approximate(matrix, method).to_dense())


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if not scenario.batches])
@pytest.mark.parametrize("kind", ["fisher", "empirical-fisher"])
def test_identities(be, name, kind):
    """S = diag(Qᵀ F Q), tr EKFAC = tr F, ‖F - EKFAC‖² = ‖F‖² - ‖S‖² and ‖F - EKFAC‖ ≤ ‖F - K-FAC‖, block by block."""
    if be.name == "strict" and (kind != "fisher" or name not in LAYERED):
        pytest.skip("enough on the other backends")
    case = Case(Setting(be), SCENARIOS[name])
    matrix = case.matrix(kind)
    ekfac, kfac = cv.approximate(matrix, "ekfac"), cv.approximate(matrix, "kfac")
    for label, exact in blocks(matrix, case.references.matrix(kind)).items():
        block = ekfac.block(label)
        found, others = (be.to_numpy(op.block(label).to_dense()) for op in (ekfac, kfac))
        scale = np.linalg.norm(exact)
        if not isinstance(block, KroneckerEigen):
            assert isinstance(block, (Dense, Diagonal))
            assert np.linalg.norm(found - exact) <= 1e-12 * scale
            continue
        q, s = basis_and_scales(be, block)
        np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-13)
        np.testing.assert_allclose(s, np.diag(q.T @ exact @ q), rtol=0, atol=1e-12 * scale)
        assert abs(np.trace(found) - np.trace(exact)) <= 1e-12 * np.trace(exact)
        error = np.linalg.norm(exact - found)
        assert abs(error**2 - (scale**2 - np.sum(s**2))) <= 1e-12 * scale**2
        assert error <= np.linalg.norm(exact - others) + 1e-12 * scale


@pytest.mark.parametrize("name", ["one-datum/relu", "one-datum/tanh", "deep-linear/squared-error"])
def test_exact_where_kfac_is(be, name):
    case = Case(Setting(be), SCENARIOS[name])
    for label, exact in blocks(case.matrix("fisher"), case.references.fisher).items():
        found = be.to_numpy(cv.approximate(case.matrix("fisher"), "ekfac").block(label).to_dense())
        np.testing.assert_allclose(found, exact, atol=1e-12 * np.linalg.norm(exact))


def test_shared_positions_are_summed_before_they_are_squared(be, generator):
    """A convolution before sum pooling: the gradient of an example is that sum, and S is that of its square."""

    def apply(params, x):
        xp = cv.namespace(x)
        h = nn.conv2d(x, params["w"], params["b"])
        return xp.sum(h * h, axis=(2, 3)) @ params["v"]

    params = {"w": (4, 2, 2, 2), "b": (4,), "v": (4, 3)}
    params = {k: be.asarray(0.3 * generator.standard_normal(s)) for k, s in params.items()}
    data = be.asarray(generator.standard_normal((5, 2, 4, 4))), be.asarray(generator.integers(0, 3, 5))
    matrix = cv.Fisher(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    operator = cv.approximate(matrix, "ekfac")
    for sharing in ("expand", "reduce"):
        operator = cv.approximate(matrix, "ekfac", sharing=sharing)
        for label, exact in blocks(matrix).items():
            q, s = basis_and_scales(be, operator.block(label))
            np.testing.assert_allclose(s, np.diag(q.T @ exact @ q), atol=1e-12 * np.linalg.norm(exact))


def test_no_order_against_the_nearest_kronecker_product(be, generator):
    """F = diag(S) with S of rank two is diagonal in a Kronecker basis, and no Kronecker product; most blocks are neither."""
    pairs = [(i, j, w) for (i, j), w in np.ndenumerate(np.array([[5.0, 0.0], [1.0, 2.0]])) if w]
    x, y, w = (np.array(c, dtype=float) for c in zip(*((np.eye(2)[i], np.eye(2)[j], w) for i, j, w in pairs), strict=True))
    model = cv.Model(lambda p, x: x @ p, be.asarray(np.zeros((2, 2))))
    crafted = cv.EmpiricalFisher(cv.Problem(model, cv.Gaussian(), tuple(be.asarray(a) for a in (x, y, w))))
    generic = cv.Fisher(task_of(be, generator, 12))
    errors = {}
    for matrix in (crafted, generic):
        exact = blocks(matrix)
        for name in ("ekfac", "kron-nearest"):
            operator = cv.approximate(matrix, name)
            gaps = [np.linalg.norm(be.to_numpy(operator.block(k).to_dense()) - f) / np.linalg.norm(f) for k, f in exact.items()]
            errors[matrix is crafted, name] = max(gaps)
    assert errors[True, "ekfac"] < 1e-12
    assert errors[True, "kron-nearest"] > 0.1
    assert errors[False, "kron-nearest"] < errors[False, "ekfac"]


@pytest.mark.parametrize("kind", [cv.Fisher, cv.EmpiricalFisher, lambda t: cv.MonteCarloFisher(t, seed=3)])
def test_few_examples_have_thin_bases_and_the_same_operator(be, generator, kind):
    """One batch of three examples is decomposed in three dimensions; in two batches the factors are formed. One operator."""
    weights = np.array([1.0, 0.5, 2.0])
    for w in (None, weights):
        task = task_of(be, generator, 3, sizes=(6, 5, 4), weights=w)
        thin = cv.approximate(kind(task), "ekfac")
        assert [q.shape[1] for q in next(iter(thin.blocks.values())).bases][1] == 3
        if kind is cv.Fisher or kind is cv.EmpiricalFisher:
            whole = cv.approximate(kind(split(task, 2)), "ekfac")
            assert all(block.codimension == 0 for block in whole.blocks.values())
            np.testing.assert_allclose(be.to_numpy(thin.to_dense()), be.to_numpy(whole.to_dense()), rtol=1e-9, atol=1e-11)
        v, dense = generator.standard_normal(task.space.size), be.to_numpy(thin.to_dense())
        expected = np.linalg.solve(dense + 0.1 * np.eye(len(v)), v)
        np.testing.assert_allclose(be.to_numpy(thin.solve(be.asarray(v), damping=0.1)), expected, rtol=1e-10, atol=1e-11)
        expected = np.linalg.slogdet(dense + 0.1 * np.eye(len(v)))[1]
        np.testing.assert_allclose(float(thin.logdet(0.1)), expected, rtol=1e-11)


def test_what_is_compiled_for_one_kind_of_data_is_not_taken_for_another():
    """One model, with and without weights, in one batch and in several, on a library that compiles."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        found = {}
        for be in (cv.backend("jax"), cv.backend("numpy")):
            task = task_of(be, np.random.default_rng(1), 3, sizes=(4, 2))
            x, y = task.data.single.x, task.data.single.y
            weighted = task.at(data=(x, y, be.asarray(np.array([1.0, 0.5, 2.0]))))
            found[be.name] = [dense_of(cv.Fisher(t)) for t in (task, weighted, split(task, 2), split(weighted, 2))]
        for one, other in zip(*found.values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    finally:
        jax.config.update("jax_enable_x64", before)


def test_examples_that_repeat_or_weigh_nothing(be, generator):
    """Rows that are zero or alike: the basis is orthonormal all the same, and the trace is kept."""
    task = task_of(be, generator, 4, sizes=(8, 7, 6))
    x, y = (be.to_numpy(a) for a in (task.data.single.x, task.data.single.y))
    rows = [0, 0, 1, 2]
    weights = np.array([1.0, 2.0, 0.0, 1.0])
    matrix = cv.EmpiricalFisher(task.at(data=(be.asarray(x[rows]), be.asarray(y[rows]), be.asarray(weights))))
    operator = cv.approximate(matrix, "ekfac")
    for label, exact in blocks(matrix).items():
        q, s = basis_and_scales(be, operator.block(label))
        np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-13)
        np.testing.assert_allclose(s, np.diag(q.T @ exact @ q), atol=1e-12 * np.linalg.norm(exact))
        np.testing.assert_allclose(np.sum(s), np.trace(exact), rtol=1e-12)


def test_some_examples_at_a_time(be, generator, monkeypatch):
    import curvature_kronecker.scales as module

    for name in ("convolutional-network/plain", "convolutional-network/grouped"):
        matrix = Case(Setting(be), SCENARIOS[name]).matrix("fisher")
        at_once = dense_of(matrix)
        monkeypatch.setattr(module, "CHUNK", 1)
        np.testing.assert_allclose(dense_of(matrix), at_once, rtol=1e-12, atol=1e-14)
        monkeypatch.undo()


def test_an_optimiser_averages_it_over_minibatches(generator):
    be = cv.backend("numpy")
    task = task_of(be, generator, 60, sizes=(6, 8, 3))
    x = task.data.single.x
    y = np.argmax(x @ generator.standard_normal((6, 3)), axis=1)
    task = task.at(data=(x, y))
    opt = cv.NaturalGradient("ekfac", damping=0.05, learning_rate=0.5)
    params, state, before = task.params, opt.init(task), float(task.loss())
    for step in range(12):
        rows = slice(step % 4 * 15, step % 4 * 15 + 15)
        params, state, _ = opt.step(params, state, (x[rows], y[rows]))
    assert float(task.at(params).loss()) < 0.5 * before


@pytest.mark.parametrize("options", [{"sharing": "both"}, {"update": "none"}, {"drift": -1.0}, {"drift": float("nan")}])
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="ekfac: "):
        cv.approximation("ekfac", **options)


def test_a_hessian_is_refused(generator):
    with pytest.raises(cv.UnsupportedError, match=r"'ekfac' is not defined for a Hessian.*curvature.GGN"):
        cv.approximate(cv.Hessian(task_of(cv.backend("numpy"), generator, 3)), "ekfac")
