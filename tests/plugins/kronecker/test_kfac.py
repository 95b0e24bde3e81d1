"""K-FAC where theory says that it is exact, and where it says that it is not (MATH §0.3)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature.operators import Kronecker


def mlp(activation):
    def apply(params, x):
        xp = cv.namespace(x)
        for index, layer in enumerate(params):
            weight = layer["weight"]
            x = x @ (xp.matrix_transpose(weight) if layer.get("flag") is None else weight) + layer["bias"]
            if index < len(params) - 1 and activation is not None:
                x = xp.tanh(x) if activation == "tanh" else xp.where(x > 0, x, xp.zeros_like(x))
        return x

    return apply


def parameters(be, rng, sizes):
    return [
        {"weight": be.asarray(rng.standard_normal((o, i))), "bias": be.asarray(rng.standard_normal(o))}
        for i, o in pairwise(sizes)
    ]


def problem(be, rng, n, sizes=(4, 3, 2), activation="tanh", likelihood=None):
    x = rng.standard_normal((n, sizes[0]))
    y = rng.integers(0, sizes[-1], n) if likelihood is None else rng.standard_normal((n, sizes[-1]))
    model = cv.Model(mlp(activation), parameters(be, rng, sizes))
    return cv.Problem(model, likelihood or cv.Categorical(), (be.asarray(x), be.asarray(y)))


def blocks(matrix):
    """The diagonal blocks of the dense matrix, in each layer's layout [W | b]."""
    be, structure = matrix.backend, matrix.problem.structure
    dense = be.to_numpy(matrix.to_dense())
    order = structure.partition.gather(np, np.arange(dense.shape[0])[:, None])
    return {layer.name: dense[np.ix_(rows[:, 0], rows[:, 0])] for layer, rows in zip(structure.layers, order, strict=True)}


def errors(matrix, **options):
    kfac = cv.approximate(matrix, "kfac", **options)
    be = matrix.backend
    return [
        np.linalg.norm(be.to_numpy(kfac.block(name).to_dense()) - block) / np.linalg.norm(block)
        for name, block in blocks(matrix).items()
    ]


MATRICES = [
    cv.Fisher,
    cv.GGN,
    cv.EmpiricalFisher,
    lambda task: cv.MonteCarloFisher(task, seed=1),
]


@pytest.mark.parametrize("activation", ["tanh", "relu", None])
@pytest.mark.parametrize("kind", MATRICES)
def test_exact_for_one_example_of_any_network(be, generator, activation, kind):
    assert max(errors(kind(problem(be, generator, 1, activation=activation)))) < 1e-12


def test_exact_for_a_deep_linear_network_with_squared_error(be, generator):
    task = problem(be, generator, 7, sizes=(4, 3, 3, 2), activation=None, likelihood=cv.Gaussian(0.5))
    assert max(errors(cv.Fisher(task))) < 1e-12
    assert max(errors(cv.GGN(task))) < 1e-12


def test_exact_for_the_last_layer_with_squared_error(be, generator):
    first, last = errors(cv.Fisher(problem(be, generator, 7, likelihood=cv.Gaussian())))
    assert last < 1e-12
    assert first > 1e-3


def test_not_exact_for_softmax_regression(be, generator):
    assert min(errors(cv.Fisher(problem(be, generator, 20, sizes=(4, 3))))) > 1e-2


def test_the_factors_are_the_moments(be, generator):
    """A = E[ā āᵀ], G = E[g gᵀ] by hand for one layer of softmax regression."""
    task = problem(be, generator, 6, sizes=(3, 4))
    (x, y) = (be.to_numpy(a) for a in (task.data.single.x, task.data.single.y))
    w, b = (be.to_numpy(task.params[0][k]) for k in ("weight", "bias"))
    f = x @ w.T + b
    p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
    a = np.concatenate([x, np.ones((6, 1))], axis=1)
    expected_a = a.T @ a / 6
    fisher_g = (np.diag(p.sum(0)) - p.T @ p) / 6
    residual = np.eye(4)[y] - p
    for matrix, expected_g in ((cv.Fisher(task), fisher_g), (cv.EmpiricalFisher(task), residual.T @ residual / 6)):
        (block,) = cv.approximate(matrix, "kfac").blocks.values()
        assert isinstance(block, Kronecker)
        g_factor, a_factor = (be.to_numpy(factor.array) for factor in block.factors)
        np.testing.assert_allclose(a_factor, expected_a, rtol=1e-12)
        np.testing.assert_allclose(g_factor, expected_g, rtol=1e-12, atol=1e-15)


def test_weights_of_examples(be, generator):
    """A weight of 0 is the absence of the example, an integer weight its repetition."""
    task = problem(be, generator, 4)
    x, y = (be.to_numpy(a) for a in (task.data.single.x, task.data.single.y))
    weighted = task.at(data=(be.asarray(x), be.asarray(y), be.asarray(np.array([1.0, 0.0, 2.0, 1.0]))))
    repeated = task.at(data=tuple(be.asarray(a[[0, 2, 2, 3]]) for a in (x, y)))
    for kind in (cv.Fisher, cv.EmpiricalFisher):
        for method in ("kfac", "diagonal", "exact"):
            one, two = (be.to_numpy(cv.approximate(kind(t), method).to_dense()) for t in (weighted, repeated))
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-14)


def test_factored_damping_is_that_of_martens_and_grosse(be, generator):
    task = problem(be, generator, 6)
    gamma = 0.3
    plain, damped = (cv.approximate(cv.Fisher(task), "kfac", gamma=g) for g in (0.0, gamma))
    for name in plain.blocks:
        (g, a), (gd, ad) = ([be.to_numpy(f.array) for f in op.block(name).factors] for op in (plain, damped))
        pi = np.sqrt((np.trace(a) / len(a)) / (np.trace(g) / len(g)))
        np.testing.assert_allclose(ad, a + pi * gamma * np.eye(len(a)), rtol=1e-12)
        np.testing.assert_allclose(gd, g + gamma / pi * np.eye(len(g)), rtol=1e-12)
        # The residual to exact damping is π γ I ⊗ A-part and γ/π: MATH §1.7.
        residual = np.kron(gd, ad) - np.kron(g, a) - gamma**2 * np.eye(len(a) * len(g))
        expected = pi * gamma * np.kron(g, np.eye(len(a))) + gamma / pi * np.kron(np.eye(len(g)), a)
        np.testing.assert_allclose(residual, expected, rtol=1e-10, atol=1e-13)


def test_a_layer_without_gradient_is_damped_all_the_same(be):
    """A dead layer has G = 0: π falls back to 1 rather than to 0/0."""
    params = [
        {"weight": be.asarray(np.ones((2, 2))), "bias": be.asarray(np.full(2, -100.0))},
        {"weight": be.asarray(np.ones((2, 2))), "bias": be.asarray(np.zeros(2))},
    ]
    data = (be.asarray(np.ones((3, 2))), be.asarray(np.array([0, 1, 0])))
    task = cv.Problem(cv.Model(mlp("relu"), params), cv.Categorical(), data)
    solved = cv.approximate(cv.Fisher(task), "kfac", gamma=0.1).solve(task.gradient())
    assert all(np.isfinite(be.to_numpy(leaf)).all() for layer in solved for leaf in layer.values())


def test_expand_equals_reduce_after_the_reduction_and_not_before(be, generator):
    """Deep linear network, mean pooling, squared error: reduce is exact; expand is not for layers before the pooling."""

    def apply(params, x):
        xp = cv.namespace(x)
        return xp.mean(x @ params["u"], axis=1) @ params["v"]

    params = {"u": be.asarray(generator.standard_normal((3, 4))), "v": be.asarray(generator.standard_normal((4, 2)))}
    x, y = be.asarray(generator.standard_normal((5, 6, 3))), be.asarray(generator.standard_normal((5, 2)))
    task = cv.Problem(cv.Model(apply, params), cv.Gaussian(), (x, y))
    assert max(errors(cv.Fisher(task), sharing="reduce")) < 1e-12
    before, after = errors(cv.Fisher(task), sharing="expand")
    assert after < 1e-12
    assert before > 1e-2


@pytest.mark.parametrize("pool", ["sum", "mean"])
def test_reduce_is_exact_for_a_shallow_convolution_that_is_pooled(be, generator, pool):
    """Convolution, pooling, squared error (Eschenhagen et al. 2023): a linear map of the pooled patches; expand is another."""

    def apply(params, x):
        xp = cv.namespace(x)
        return getattr(xp, pool)(nn.conv2d(x, params["weight"], params["bias"]), axis=(2, 3))

    params = {"weight": be.asarray(generator.standard_normal((3, 2, 2, 2))), "bias": be.asarray(generator.standard_normal(3))}
    x, y = be.asarray(generator.standard_normal((5, 2, 4, 3))), be.asarray(generator.standard_normal((5, 3)))
    task = cv.Problem(cv.Model(apply, params), cv.Gaussian(), (x, y))
    for kind in (cv.Fisher, cv.GGN):
        assert max(errors(kind(task), sharing="reduce")) < 1e-12
        assert min(errors(kind(task), sharing="expand")) > 1e-2


def test_reduce_and_expand_are_one_without_shared_positions(be, generator):
    task = problem(be, generator, 6)
    for kind in MATRICES:
        one, two = (be.to_numpy(cv.approximate(kind(task), "kfac", sharing=s).to_dense()) for s in ("expand", "reduce"))
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-15)


def test_a_hessian_is_refused(generator):
    with pytest.raises(cv.UnsupportedError, match=r"'kfac' is not defined for a Hessian.*curvature.GGN"):
        cv.approximate(cv.Hessian(problem(cv.backend("numpy"), generator, 3)), "kfac")


@pytest.mark.parametrize("options", [{"sharing": "both"}, {"damping": "some"}, {"gamma": -1.0}])
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="kfac: "):
        cv.approximation("kfac", **options)


@pytest.mark.parametrize("form", ["exact", "factored"])
def test_an_optimiser_damps_in_the_form_that_was_chosen(be, generator, form):
    """exact: (A ⊗ G + λ I)⁻¹ in the eigenbasis; factored: the damped factors' product, and nothing more."""
    task = problem(be, generator, 6)
    damping, l2 = 0.05, 0.01
    opt = cv.NaturalGradient(cv.approximation("kfac", damping=form), damping=damping, l2=l2, learning_rate=1.0)
    params, _, _ = opt.step(task.params, opt.init(task))
    xp, space = be.xp, task.space
    theta = be.to_numpy(space.ravel(xp, task.params))
    gradient = be.to_numpy(space.ravel(xp, task.gradient())) + l2 * theta
    shift = damping + l2
    gamma = 0.0 if form == "exact" else shift**0.5
    matrix = be.to_numpy(cv.approximate(cv.Fisher(task), "kfac", gamma=gamma).to_dense())
    if form == "exact":
        matrix = matrix + shift * np.eye(len(theta))
    expected = theta - np.linalg.solve(matrix, gradient)
    np.testing.assert_allclose(be.to_numpy(space.ravel(xp, params)), expected, rtol=1e-9, atol=1e-11)
