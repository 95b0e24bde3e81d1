"""Exponential, gamma, von Mises and heteroscedastic Gaussian: against SciPy, quadrature and their own derivatives."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special as sp
from scipy import stats

import curvature as cv

N, D = 4, 2


def cases(rng):
    """name -> (likelihood, outputs (N, C), y)."""
    f = rng.standard_normal((N, 2 * D))
    return {
        "exponential": (cv.Exponential(), f, rng.exponential(size=(N, 2 * D))),
        "heteroscedastic": (cv.HeteroscedasticGaussian(), f, rng.standard_normal((N, D))),
        # Shapes on both sides of 10, and concentrations on both sides of 40.
        "gamma": (cv.Gamma(), f + np.array([0.5, 0.0, 4.0, 1.0]), rng.exponential(size=(N, D))),
        "von-mises": (cv.VonMises(), f * np.array([1.0, 1.0, 90.0, 90.0]), rng.uniform(-9, 9, (N, D))),
    }


def named(value):
    """An id that is the same in every process."""
    return type(value).__name__ if isinstance(value, cv.Likelihood) else str(value)


NAMES = ("exponential", "heteroscedastic", "gamma", "von-mises")


@pytest.fixture(params=NAMES)
def case(request, be, generator):
    likelihood, f, y = cases(generator)[request.param]
    return be, likelihood, be.asarray(f), be.asarray(y)


def scipy_log_density(name, f, y):
    """log p of one target (y may be a grid) at its outputs."""
    if name == "exponential":
        return stats.expon.logpdf(y, scale=np.exp(-f[0]))
    if name == "heteroscedastic":
        return stats.norm.logpdf(y, f[0], np.exp(0.5 * f[1]))
    if name == "gamma":
        return stats.gamma.logpdf(y, np.exp(f[0]), scale=np.exp(-f[1]))
    return stats.vonmises.logpdf(y, np.hypot(*f), loc=np.arctan2(f[1], f[0]))


def block(name, f):
    """Fisher information of one target, by the table of closed forms in other coordinates and the chain rule."""
    if name == "exponential":
        return np.eye(1)
    if name == "heteroscedastic":  # (μ, log s): diag(1/s², 2), and log v = 2 log s
        return np.diag([np.exp(-f[1]), 2 / 4])
    if name == "gamma":  # (k, r): ((ψ'(k), -1/r), (-1/r, k/r²))
        k, r = np.exp(f)
        jacobian = np.diag([k, r])
        return jacobian @ np.array([[sp.polygamma(1, k), -1 / r], [-1 / r, k / r**2]]) @ jacobian
    kappa, mu = np.hypot(*f), np.arctan2(f[1], f[0])  # (μ, κ): diag(κ A, 1 - A/κ - A²)
    a = sp.i1e(kappa) / sp.i0e(kappa)
    inverse = np.array([[-np.sin(mu) / kappa, np.cos(mu) / kappa], [np.cos(mu), np.sin(mu)]])  # ∂(μ, κ)/∂f
    return inverse.T @ np.diag([kappa * a, 1 - a / kappa - a * a]) @ inverse


def targets_of(name, f):
    """The outputs of each target of an example."""
    return f.reshape(-1, 1 if name == "exponential" else 2)


def expected_fisher(name, f):
    size = f.shape[1]
    found = np.zeros((len(f), size, size))
    for n, row in enumerate(f):
        parts = targets_of(name, row)
        width = parts.shape[1]
        for d, part in enumerate(parts):
            rows = slice(d * width, (d + 1) * width)
            found[n, rows, rows] = block(name, part)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_is_that_of_scipy(be, generator, name):
    likelihood, f, y = cases(generator)[name]
    found = be.to_numpy(likelihood.log_prob(be.asarray(f), likelihood.check(be.asarray(f), be.asarray(y))))
    parts = [
        [scipy_log_density(name, part, t) for part, t in zip(targets_of(name, row), ts, strict=True)]
        for row, ts in zip(f, y, strict=True)
    ]
    np.testing.assert_allclose(found, np.sum(parts, axis=1), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_fisher_is_the_closed_form(be, generator, name):
    likelihood, f, _ = cases(generator)[name]
    factor = be.to_numpy(likelihood.fisher_factor(be.asarray(f)))
    expected = expected_fisher(name, f)
    np.testing.assert_allclose(factor @ np.swapaxes(factor, 1, 2), expected, rtol=1e-12, atol=1e-13)
    v = generator.standard_normal(f.shape)
    product = be.to_numpy(likelihood.fisher_product(be.asarray(f), be.asarray(v)))
    np.testing.assert_allclose(product, np.einsum("nij,nj->ni", expected, v), rtol=1e-11, atol=1e-13)


def test_score_and_hessian_are_derivatives_of_log_prob(case):
    be, likelihood, f, y = case
    y = likelihood.check(f, y)
    # The base class derives both from log_prob alone, by the library's autodiff or by torch's.
    np.testing.assert_allclose(
        be.to_numpy(likelihood.score(f, y)), be.to_numpy(cv.Likelihood.score(likelihood, f, y)), rtol=1e-11, atol=1e-13
    )
    v = be.rng(0).normal(tuple(f.shape), dtype=f.dtype)
    np.testing.assert_allclose(
        be.to_numpy(likelihood.hessian_product(f, y, v)),
        be.to_numpy(cv.Likelihood.hessian_product(likelihood, f, y, v)),
        rtol=1e-11,
        atol=1e-12,
    )


@pytest.mark.parametrize("name", ["exponential", "von-mises"])
def test_the_factor_of_the_hessian(be, generator, name):
    likelihood, f, y = cases(generator)[name]
    f, y = be.asarray(f), be.asarray(y)
    v = be.rng(0).normal(tuple(f.shape), dtype=f.dtype)
    factor = be.to_numpy(likelihood.hessian_factor(f, y))
    found = np.einsum("nir,njr,nj->ni", factor, factor, be.to_numpy(v))
    np.testing.assert_allclose(found, be.to_numpy(likelihood.hessian_product(f, y, v)), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["heteroscedastic", "gamma"])
def test_an_indefinite_hessian_has_no_factor_and_is_refused_by_name(be, name):
    likelihood = {"heteroscedastic": cv.HeteroscedasticGaussian(), "gamma": cv.Gamma()}[name]
    f = np.zeros((2, 2))
    # At the mean of a Gaussian the Hessian is diag(1/v, 0); for k = 1 and y r = 1 its determinant is ψ(1) + ψ'(1) - 1 > 0.
    y = {"heteroscedastic": np.array([[0.0], [3.0]]), "gamma": np.array([[1.0], [8.0]])}[name]
    assert be.to_numpy(likelihood.hessian_factor(be.asarray(f[:1]), be.asarray(y[:1]))).shape == (1, 2, 2)
    with pytest.raises(cv.NotPositiveDefiniteError, match="example 1"):
        likelihood.hessian_factor(be.asarray(f), be.asarray(y))


GRIDS = {
    # The trapezoid rule in log y, in y and in the angle: each converges faster than any power.
    "exponential": (np.exp(np.linspace(-45, 6, 1500)), "log"),
    "gamma": (np.exp(np.linspace(-45, 6, 1500)), "log"),
    "heteroscedastic": (np.linspace(-30, 30, 3001), "line"),
    "von-mises": (2 * np.pi * np.arange(128) / 128, "line"),
}
OUTPUTS = {"exponential": [0.4], "gamma": [0.6, 0.3], "heteroscedastic": [0.3, -0.5], "von-mises": [1.5, -2.0]}


@pytest.mark.parametrize("name", NAMES)
def test_the_density_the_score_and_the_fisher_by_quadrature(name):
    likelihood = cases(np.random.default_rng(0))[name][0]
    grid, kind = GRIDS[name]
    f = np.repeat([OUTPUTS[name]], len(grid), axis=0)
    step = np.log(grid[1] / grid[0]) * grid if kind == "log" else grid[1] - grid[0]
    measure = np.exp(likelihood.log_prob(f, grid[:, None])) * step
    score = likelihood.score(f, grid[:, None])
    assert measure.sum() == pytest.approx(1, abs=1e-13)
    np.testing.assert_allclose(measure @ score, 0, atol=1e-13)
    fisher = np.einsum("k,ki,kj->ij", measure, score, score)
    np.testing.assert_allclose(fisher, block(name, np.array(OUTPUTS[name])), rtol=1e-12, atol=1e-13)
    # The Hessian is the Fisher on average, whether or not it is so for every y.
    columns = [measure @ likelihood.hessian_product(f, grid[:, None], np.broadcast_to(u, f.shape)) for u in np.eye(f.shape[1])]
    np.testing.assert_allclose(columns, fisher, rtol=1e-12, atol=1e-13)


def test_draws_have_the_moments(case):
    be, likelihood, f, _ = case
    draws = 4000
    repeated = be.xp.concat([f] * draws, axis=0)
    scores = be.to_numpy(likelihood.score(repeated, likelihood.sample(be.rng(3), repeated))).reshape(draws, *f.shape)
    # E[score] = 0 and E[score scoreᵀ] = F; six standard errors.
    assert np.all(np.abs(scores.mean(0)) < 6 * scores.std(0) / draws**0.5)
    fisher = np.einsum("nir,njr->nij", *[be.to_numpy(likelihood.fisher_factor(f))] * 2)
    products = scores[:, :, :, None] * scores[:, :, None, :]
    assert np.all(np.abs(products.mean(0) - fisher) < 6 * products.std(0) / draws**0.5 + 1e-12)


DISTRIBUTIONS = {
    "exponential": (cv.Exponential(), [0.7]),
    "gamma of small shape": (cv.Gamma(), [math.log(0.2), 0.5]),
    "gamma of shape 3": (cv.Gamma(), [math.log(3.0), -1.0]),
    "gamma of large shape": (cv.Gamma(), [math.log(1e6), 2.0]),
    "heteroscedastic": (cv.HeteroscedasticGaussian(), [0.3, 1.2]),
    "uniform angle": (cv.VonMises(), [0.0, 0.0]),
    "von Mises": (cv.VonMises(), [-1.2, 0.9]),
    "concentrated von Mises": (cv.VonMises(), [-1e8, 1e3]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_are_of_the_distribution(name):
    """Kolmogorov-Smirnov at a level that chance does not reach."""
    likelihood, outputs = DISTRIBUTIONS[name]
    f = np.repeat([outputs], 20_000, axis=0)
    y = likelihood.sample(cv.backend("numpy").rng(1), f)[:, 0]
    frozen = {
        cv.Exponential: lambda f: stats.expon(scale=np.exp(-f[0])),
        cv.Gamma: lambda f: stats.gamma(np.exp(f[0]), scale=np.exp(-f[1])),
        cv.HeteroscedasticGaussian: lambda f: stats.norm(f[0], np.exp(0.5 * f[1])),
        cv.VonMises: lambda f: stats.vonmises(np.hypot(*f)),
    }[type(likelihood)](np.array(outputs))
    if isinstance(likelihood, cv.VonMises):
        assert np.all(np.abs(y) <= np.pi)
        y = np.mod(y - np.arctan2(outputs[1], outputs[0]) + np.pi, 2 * np.pi) - np.pi
    if name == "concentrated von Mises":
        frozen = stats.norm(scale=np.hypot(*outputs) ** -0.5)
    assert stats.kstest(y, frozen.cdf).pvalue > 1e-6


def test_one_seed_draws_the_same_on_every_backend(generator):
    for likelihood, f, _ in cases(generator).values():
        draws = []
        for backend in (cv.backend("numpy"), cv.ArrayBackend("strict", array_api_strict), cv.backend("torch")):
            rng = backend.rng(5)
            draws.append((backend.to_numpy(likelihood.sample(rng, backend.asarray(f))), backend.to_numpy(rng.uniform((3,)))))
        for found, after in draws[1:]:
            np.testing.assert_allclose(found, draws[0][0], rtol=1e-11, atol=1e-12)
            np.testing.assert_array_equal(after, draws[0][1])


def test_what_is_drawn_afterwards_does_not_depend_on_the_rounds():
    after = []
    for outputs in ([0.0, 0.0], [30.0, 30.0]):  # every proposal is taken, and a third are refused
        rng = cv.backend("numpy").rng(0)
        cv.VonMises().sample(rng, np.repeat([outputs], 50, axis=0))
        after.append(rng.uniform((2,)))
    np.testing.assert_array_equal(*after)


@pytest.mark.parametrize("likelihood", [cv.Gamma(), cv.VonMises()], ids=named)
def test_draws_at_outputs_that_are_not_finite_are_refused(likelihood):
    f = np.array([[0.0, 0.0], [np.nan, 0.0]])
    with pytest.raises(cv.ConvergenceError, match="not finite"):
        likelihood.sample(cv.backend("numpy").rng(0), f)


# Single precision and extreme outputs ----------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(be, generator, name):
    likelihood, f, y = cases(generator)[name]
    g, t = be.asarray(f, dtype="float32"), be.asarray(y, dtype="float32")
    t = likelihood.check(g, t)
    exact = likelihood.check(f, y)
    for found, expected in (
        (likelihood.log_prob(g, t), likelihood.log_prob(f, exact)),
        (likelihood.score(g, t), likelihood.score(f, exact)),
        (likelihood.fisher_factor(g), likelihood.fisher_factor(f)),
    ):
        assert found.dtype == g.dtype
        np.testing.assert_allclose(be.to_numpy(found), expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())
    assert likelihood.sample(be.rng(0), g).dtype == g.dtype


EXTREMES = [-70.0, -20.0, 0.0, 20.0, 80.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_nan_for_extreme_outputs(be, dtype):
    """Nor in gradients: a branch that is not taken must not leak into them. (Where p itself overflows, infinity is right.)"""
    pairs = np.array([[a, b] for a in EXTREMES for b in EXTREMES])
    f, y = be.asarray(pairs, dtype=dtype), be.asarray(np.full((len(pairs), 1), 0.5), dtype=dtype)
    for likelihood in (cv.Gamma(), cv.VonMises(), cv.HeteroscedasticGaussian()):
        for found in (
            likelihood.log_prob(f, y),
            likelihood.score(f, y),
            cv.Likelihood.score(likelihood, f, y),
            likelihood.fisher_factor(f),
            likelihood.fisher_product(f, be.xp.ones_like(f)),
            likelihood.hessian_product(f, y, be.xp.ones_like(f)),
        ):
            assert not np.isnan(be.to_numpy(found)).any(), likelihood


@settings(deadline=None)
@given(st.floats(-14, 14), st.floats(-5, 5), st.floats(-3, 3))
def test_gamma_keeps_its_digits_for_every_shape(a, b, z):
    """Around the mean, z standard deviations off, where log p is of order one."""
    k = math.exp(a)
    log_y = a - b + (z / math.sqrt(k) if k > 1 else z)
    f, y = np.array([[a, b]]), np.array([[math.exp(log_y)]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = cv.Gamma().log_prob(f, y)[0]
    # Of SciPy's value what is left after terms of size k log k have cancelled.
    lost = 1e-15 * (1 + k * (1 + abs(a) + abs(b)))
    assert found == pytest.approx(stats.gamma.logpdf(y[0, 0], k, scale=math.exp(-b)), rel=1e-12, abs=1e-13 + 20 * lost)
    factor = cv.Gamma().fisher_factor(f)[0]
    expected = block("gamma", f[0])
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-12)
    # log det F = log k (k² ψ' - k), which the difference of large numbers would lose; for large k, k² ψ' - k = ½ + 1/(6k) - …
    own = factor[0, 0] ** 2
    if k > 1e3:
        assert own == pytest.approx(0.5 + 1 / (6 * k), rel=1e-10)
    else:
        assert own == pytest.approx(k * k * sp.polygamma(1, k) - k, rel=1e-11)


def test_gamma_of_shape_one_is_exponential(generator):
    rate, y = generator.standard_normal((5, 1)), generator.exponential(size=(5, 1))
    f = np.concatenate([np.zeros((5, 1)), rate], axis=1)
    np.testing.assert_allclose(cv.Gamma().log_prob(f, y), cv.Exponential().log_prob(rate, y), rtol=1e-13, atol=1e-14)


def test_torch_differentiates_von_mises_at_zero_twice():
    y = torch.tensor([[0.3]], dtype=torch.float64)

    def loss(f):
        return -cv.VonMises().log_prob(f, y)[0]

    zero = torch.zeros((1, 2), dtype=torch.float64)
    np.testing.assert_allclose(torch.func.grad(loss)(zero), [[-math.cos(0.3), -math.sin(0.3)]], rtol=1e-14)
    hessian = torch.autograd.functional.hessian(loss, zero)[0, :, 0]
    np.testing.assert_allclose(hessian, 0.5 * np.eye(2), rtol=1e-14, atol=1e-15)


# In a problem ----------------------------------------------------------------------------------------


def _pairs(params, x):
    return cv.namespace(x).reshape(x @ params["weight"], (x.shape[0], 3, 2))


@pytest.mark.parametrize("likelihood", [cv.HeteroscedasticGaussian(), cv.Gamma(), cv.VonMises()], ids=named)
def test_several_targets_lie_before_the_pair(be, generator, likelihood):
    """Outputs (N, 3, 2) with y (N, 3) are three targets, each with two adjacent outputs."""
    params, x = {"weight": 0.5 * generator.standard_normal((2, 6))}, generator.standard_normal((5, 2))
    y = generator.exponential(size=(5, 3))
    problem = cv.Problem(cv.Model(_pairs, {"weight": be.asarray(params["weight"])}), likelihood, (be.asarray(x), be.asarray(y)))
    outputs = _pairs(params, x)
    each = [likelihood.log_prob(outputs[:, d], y[:, d : d + 1]) for d in range(3)]
    assert float(problem.loss()) == pytest.approx(-np.sum(each, axis=0).mean(), rel=1e-13)
    jacobian = np.einsum("ni,cd->ncid", x, np.eye(6)).reshape(5, 6, 12)
    blocks = np.zeros((5, 6, 6))
    for d in range(3):
        factor = likelihood.fisher_factor(outputs[:, d])
        blocks[:, 2 * d : 2 * d + 2, 2 * d : 2 * d + 2] = factor @ np.swapaxes(factor, 1, 2)
    expected = np.einsum("ncp,ncd,ndq->pq", jacobian, blocks, jacobian) / 5
    np.testing.assert_allclose(be.to_numpy(cv.Fisher(problem).to_dense()), expected, rtol=1e-12, atol=1e-13)


def test_one_target_takes_y_without_a_second_axis(be, generator):
    x, y = generator.standard_normal((5, 2)), generator.standard_normal(5)
    weight = be.asarray(generator.standard_normal((2, 2)))
    problem = cv.Problem(
        cv.Model(lambda p, x: x @ p["weight"], {"weight": weight}),
        cv.HeteroscedasticGaussian(),
        (be.asarray(x), be.asarray(y)),
    )
    f = x @ be.to_numpy(weight)
    assert float(problem.loss()) == pytest.approx(-stats.norm.logpdf(y, f[:, 0], np.exp(0.5 * f[:, 1])).mean(), rel=1e-13)


@pytest.mark.parametrize(
    ("likelihood", "y", "words"),
    [
        (cv.Exponential(), [[1.0, 1.0], [1.0, 0.0]], "example 1 is not a positive"),
        (cv.Exponential(), [[1.0, np.inf], [1.0, 1.0]], "example 0 is not a positive"),
        (cv.Exponential(), [1.0, 2.0], "do not fit"),
        (cv.Gamma(), [[1.0], [-2.0]], "Gamma: a target of example 1 is not a positive"),
        (cv.Gamma(), [[np.nan], [2.0]], "Gamma: a target of example 0"),
        (cv.Gamma(), [[1.0, 2.0], [1.0, 2.0]], "do not fit"),
        (cv.VonMises(), [[0.0], [np.inf]], "an angle of example 1 is not finite"),
        (cv.HeteroscedasticGaussian(), [[0.0], [1.0], [2.0]], "do not fit"),
    ],
    ids=named,
)
def test_targets_that_cannot_be_are_named(be, likelihood, y, words):
    with pytest.raises(cv.DataError, match=words):
        likelihood.check(be.asarray(np.zeros((2, 2))), be.asarray(np.array(y)))


@pytest.mark.parametrize(
    ("likelihood", "pair"),
    [
        (cv.HeteroscedasticGaussian(), "mean and log variance"),
        (cv.Gamma(), "log shape and log rate"),
        (cv.VonMises(), "κ cos μ and κ sin μ"),
    ],
    ids=named,
)
def test_outputs_that_are_no_pairs_are_refused(be, likelihood, pair):
    with pytest.raises(cv.ModelError, match=pair):
        likelihood.check(be.asarray(np.zeros((2, 3))), be.asarray(np.ones(2)))


@pytest.mark.parametrize("rate", [-95.0, 0.0, 95.0, 103.0])
def test_exponential_draws_are_targets_at_any_rate(be, rate):
    """In float32 exp(103) is infinite and its inverse zero: a draw is none of both, and its score is finite."""
    outputs = be.asarray(np.full((500, 1), rate), dtype="float32")
    likelihood = cv.Exponential()
    y = likelihood.check(outputs, likelihood.sample(be.rng(0), outputs))
    assert np.all(np.isfinite(be.to_numpy(likelihood.score(outputs, y))))
