"""Likelihoods against enumeration, quadrature and their own derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv

N, C = 4, 3


def cases(rng):
    """name -> (likelihood, outputs, y, support of y with its probability as a function of one output vector)."""
    f = rng.standard_normal((N, C))
    return {
        "categorical": (cv.Categorical(), f, rng.integers(0, C, N)),
        "bernoulli": (cv.Bernoulli(), f, rng.integers(0, 2, (N, C)).astype(float)),
        "gaussian": (cv.Gaussian(variance=0.7), f, rng.standard_normal((N, C))),
        "poisson": (cv.Poisson(), f, rng.poisson(np.exp(f)).astype(float)),
    }


NAMES = ("categorical", "bernoulli", "gaussian", "poisson")


@pytest.fixture(params=NAMES)
def case(request, be, generator):
    likelihood, f, y = cases(generator)[request.param]
    return be, likelihood, be.asarray(f), be.asarray(y)


def expected_fisher(name, f):
    """Closed forms of MATH §1.1, (N, C, C)."""
    if name == "categorical":
        p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
        return np.stack([np.diag(q) - np.outer(q, q) for q in p])
    diagonal = {
        "bernoulli": lambda: np.exp(f) / (1 + np.exp(f)) ** 2,
        "gaussian": lambda: np.full_like(f, 1 / 0.7),
        "poisson": lambda: np.exp(f),
    }[name]()
    return np.stack([np.diag(d) for d in diagonal])


@pytest.mark.parametrize("name", NAMES)
def test_fisher_is_the_closed_form(be, generator, name):
    likelihood, f, _ = cases(generator)[name]
    factor = be.to_numpy(likelihood.fisher_factor(be.asarray(f)))
    expected = expected_fisher(name, f)
    np.testing.assert_allclose(factor @ np.swapaxes(factor, 1, 2), expected, rtol=1e-12, atol=1e-14)
    v = generator.standard_normal((N, C))
    product = be.to_numpy(likelihood.fisher_product(be.asarray(f), be.asarray(v)))
    np.testing.assert_allclose(product, np.einsum("nij,nj->ni", expected, v), rtol=1e-12, atol=1e-14)


def test_the_categorical_factor_has_as_many_columns_as_the_rank(be, generator):
    factor = cv.Categorical().fisher_factor(be.asarray(generator.standard_normal((N, C))))
    assert tuple(factor.shape) == (N, C, C - 1)


def test_score_and_hessian_are_derivatives_of_log_prob(case):
    be, likelihood, f, y = case
    y = likelihood.check(f, y)
    # The base class derives both from log_prob alone.
    np.testing.assert_allclose(
        be.to_numpy(likelihood.score(f, y)), be.to_numpy(cv.Likelihood.score(likelihood, f, y)), rtol=1e-11, atol=1e-13
    )
    v = be.rng(0).normal((N, C), dtype=f.dtype)
    np.testing.assert_allclose(
        be.to_numpy(likelihood.hessian_product(f, y, v)),
        be.to_numpy(cv.Likelihood.hessian_product(likelihood, f, y, v)),
        rtol=1e-11,
        atol=1e-13,
    )
    factor = be.to_numpy(likelihood.hessian_factor(f, y))
    np.testing.assert_allclose(
        np.einsum("nir,njr,nj->ni", factor, factor, be.to_numpy(v)),
        be.to_numpy(likelihood.hessian_product(f, y, v)),
        rtol=1e-11,
        atol=1e-13,
    )


def test_probabilities_sum_to_one(generator):
    f = generator.standard_normal((1, C))
    total = sum(np.exp(cv.Categorical().log_prob(f, np.array([c])))[0] for c in range(C))
    assert total == pytest.approx(1, abs=1e-14)
    total = sum(np.exp(cv.Bernoulli().log_prob(f[:, :1], np.array([[c]])))[0] for c in (0.0, 1.0))
    assert total == pytest.approx(1, abs=1e-14)
    total = sum(np.exp(cv.Poisson().log_prob(f[:, :1], np.array([[float(k)]])))[0] for k in range(80))
    assert total == pytest.approx(1, abs=1e-13)
    grid = np.linspace(-15, 15, 20_001)
    density = np.array([np.exp(cv.Gaussian(2.0).log_prob(f[:, :1], np.array([[t]])))[0] for t in grid[::100]])
    assert np.trapezoid(density, grid[::100]) == pytest.approx(1, abs=1e-9)


@given(st.integers(0, 10_000))
def test_log_factorial(k):
    expected = cv.Poisson().log_prob(np.zeros((1, 1)), np.array([[float(k)]]))[0]
    assert -expected - 1 == pytest.approx(math.lgamma(k + 1), rel=1e-14, abs=1e-13)


@settings(deadline=None)
@given(st.floats(-700, 700), st.integers(0, 1))
def test_bernoulli_does_not_overflow(f, y):
    outputs, targets = np.array([[f]]), np.array([[float(y)]])
    likelihood = cv.Bernoulli()
    with np.errstate(over="raise", invalid="raise"):
        assert np.isfinite(likelihood.log_prob(outputs, targets)).all()
        assert np.isfinite(likelihood.fisher_factor(outputs)).all()


def test_categorical_survives_large_logits():
    outputs = np.array([[1e4, 0.0, -1e4]])
    assert cv.Categorical().log_prob(outputs, np.array([0]))[0] == 0.0
    assert np.isfinite(cv.Categorical().fisher_factor(outputs)).all()


def test_draws_have_the_moments(case):
    be, likelihood, f, _ = case
    rng, draws = be.rng(3), 4000
    scores = np.stack([be.to_numpy(likelihood.score(f, likelihood.sample(rng, f))) for _ in range(draws)])
    # E[score] = 0 and E[score scoreᵀ] = F; six standard errors.
    assert np.all(np.abs(scores.mean(0)) < 6 * scores.std(0) / draws**0.5 + 1e-12)
    factor = be.to_numpy(likelihood.fisher_factor(f))
    fisher = factor @ np.swapaxes(factor, 1, 2)
    products = scores[:, :, :, None] * scores[:, :, None, :]
    assert np.all(np.abs(products.mean(0) - fisher) < 6 * products.std(0) / draws**0.5 + 1e-12)


def test_one_seed_draws_the_same_on_every_backend(generator):
    import array_api_strict

    f = generator.standard_normal((50, C))
    for likelihood in (cv.Categorical(), cv.Bernoulli(), cv.Gaussian(), cv.Poisson()):
        draws = []
        for backend in (cv.backend("numpy"), cv.ArrayBackend("strict", array_api_strict), cv.backend("torch")):
            draws.append(backend.to_numpy(likelihood.sample(backend.rng(5), backend.asarray(f))))
        np.testing.assert_allclose(draws[1], draws[0], rtol=1e-12)
        np.testing.assert_allclose(draws[2], draws[0], rtol=1e-12)


class Laplace(cv.Likelihood):
    """A user's likelihood with log_prob and sample alone: F = 1, no second derivative."""

    def log_prob(self, outputs, y):
        xp = cv.namespace(outputs)
        return -xp.sum(xp.abs(outputs - y), axis=1) - math.log(2)

    def sample(self, rng, outputs):
        u = rng.uniform(tuple(outputs.shape)) - 0.5
        xp = cv.namespace(u)
        return outputs - xp.sign(u) * xp.log(1 - 2 * xp.abs(u))


class Exponential(cv.Likelihood):
    """A user's likelihood, canonical in f = log rate? No: in f = -rate. log_prob alone; F = 1/f²."""

    canonical = True

    def log_prob(self, outputs, y):
        xp = cv.namespace(outputs)
        return xp.sum(outputs * y + xp.log(-outputs), axis=1)


def test_a_missing_fisher_is_estimated_from_draws_and_said(be):
    outputs = be.asarray(np.zeros((2, 1)))
    with pytest.warns(cv.FallbackWarning, match="Laplace gives neither"):
        factor = be.to_numpy(Laplace().fisher_factor(outputs))
    # The score is ±1, so its square is 1 whatever is drawn.
    np.testing.assert_allclose(factor @ np.swapaxes(factor, 1, 2), np.ones((2, 1, 1)), rtol=1e-12)


def test_a_canonical_likelihood_needs_log_prob_alone(be):
    f = np.array([[-0.5], [-2.0]])
    factor = be.to_numpy(Exponential().fisher_factor(be.asarray(f)))
    np.testing.assert_allclose((factor @ np.swapaxes(factor, 1, 2))[:, 0, 0], 1 / f[:, 0] ** 2, rtol=1e-12)


def test_a_missing_sample_says_what_to_do():
    with pytest.raises(cv.UnsupportedError, match=r"no sample\(rng, outputs\)"):
        Exponential().sample(cv.backend("numpy").rng(0), np.ones((1, 1)))


def test_a_loss_that_is_not_convex_in_the_outputs_has_no_factor():
    class Cauchy(cv.Likelihood):
        def log_prob(self, outputs, y):
            xp = cv.namespace(outputs)
            return -xp.sum(xp.log(1 + (outputs - y) ** 2), axis=1) - math.log(math.pi)

    outputs, y = np.array([[0.0], [5.0]]), np.array([[0.0], [0.0]])
    with pytest.raises(cv.NotPositiveDefiniteError, match="example 1"):
        Cauchy().hessian_factor(outputs, y)


def test_a_variance_is_positive():
    with pytest.raises(cv.DataError, match="variance"):
        cv.Gaussian(variance=0.0)
