"""Special functions against SciPy, in both precisions, and their derivatives by every autodiff."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special as sp

import curvature as cv
from curvature.autodiff import gradient
from curvature.likelihoods import special
from curvature.likelihoods.bessel import PlaneVector

POSITIVE = st.floats(1e-8, 1e8)
ANGLE = st.floats(-math.pi, math.pi)


def at(function, x, dtype=np.float64):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = function(np.asarray([x], dtype=dtype))
    assert found.dtype == dtype
    return float(found[0])


@given(POSITIVE)
def test_log_factorial(x):
    # Absolute near its zeros at 0 and 1, where terms of about 20 cancel.
    assert at(special.log_factorial, x) == pytest.approx(sp.gammaln(x + 1), rel=1e-14, abs=1e-14)


@given(POSITIVE)
def test_digamma(x):
    # Absolute near the zero at 1.46.
    assert at(special.digamma, x) == pytest.approx(sp.digamma(x), rel=1e-14, abs=2e-15)


@given(POSITIVE)
def test_trigamma(x):
    assert at(special.trigamma, x) == pytest.approx(sp.polygamma(1, x), rel=1e-14)


@given(st.floats(10, 1e3))
def test_the_rests_of_stirlings_series(z):
    # The difference of SciPy's own values loses z log z to rounding.
    lost = 4 * np.finfo(float).eps * z * math.log(z)
    rest = sp.gammaln(z) - (z - 0.5) * math.log(z) + z - 0.5 * math.log(2 * math.pi)
    assert at(special.stirling_rest, z) == pytest.approx(rest, abs=lost)
    assert at(special.digamma_rest, z) == pytest.approx(z * (math.log(z) - sp.digamma(z)), abs=lost)
    assert at(special.trigamma_rest, z) == pytest.approx(z * (z * sp.polygamma(1, z) - 1), abs=lost)


def test_the_rests_at_ten_to_all_digits():
    """From log Γ, ψ and ψ' themselves, with 40 digits."""
    assert at(special.stirling_rest, 10.0) == pytest.approx(0.008330563433362871256, rel=1e-15, abs=0)
    assert at(special.digamma_rest, 10.0) == pytest.approx(0.5083250392732457637, rel=1e-15, abs=0)
    assert at(special.trigamma_rest, 10.0) == pytest.approx(0.5166335681685746122, rel=1e-15, abs=0)


@given(st.floats(1e-6, 1e6))
def test_single_precision(x):
    x = float(np.float32(x))
    for function, expected in (
        (special.log_factorial, sp.gammaln(x + 1)),
        (special.digamma, sp.digamma(x)),
        (special.trigamma, sp.polygamma(1, x)),
    ):
        assert at(function, x, np.float32) == pytest.approx(expected, rel=4e-6, abs=6e-6)


def test_counts_in_single_precision_do_not_overflow():
    # (y + 1) … (y + 8), of which this was once the logarithm, is infinite in float32 from 65,000 on.
    y = np.asarray([6e4, 1e6, 1e30], dtype=np.float32)
    np.testing.assert_allclose(special.log_factorial(y), sp.gammaln(y.astype(float) + 1), rtol=1e-6)


def test_the_derivatives_of_log_factorial_are_digamma_and_trigamma():
    x = np.concatenate([np.logspace(-6, 6, 60), [9.0, 10.0]])  # at 9 the branches meet

    def total(v):
        return cv.namespace(v).sum(special.log_factorial(v))

    np.testing.assert_allclose(gradient(total)(x), sp.digamma(x + 1), rtol=1e-13, atol=1e-14)
    second = gradient(lambda v: cv.namespace(v).sum(gradient(total)(v)))(x)
    np.testing.assert_allclose(second, sp.polygamma(1, x + 1), rtol=1e-13)
    v = torch.from_numpy(x).requires_grad_()
    (first,) = torch.autograd.grad(special.log_factorial(v).sum(), v, create_graph=True)
    np.testing.assert_allclose(first.detach(), sp.digamma(x + 1), rtol=1e-13, atol=1e-14)
    (second,) = torch.autograd.grad(first.sum(), v)
    np.testing.assert_allclose(second, sp.polygamma(1, x + 1), rtol=1e-13)


# The Bessel functions of a plane vector --------------------------------------------------------------


def plane(kappa, angle, dtype=np.float64):
    x, y = (np.asarray([kappa * of(angle)], dtype=dtype) for of in (math.cos, math.sin))
    return PlaneVector.of(x, y)


@given(st.floats(0.1, 1e6), ANGLE)
def test_log_i0(kappa, angle):
    assert plane(kappa, angle).log_i0()[0] == pytest.approx(math.log(sp.i0e(kappa)) + kappa, rel=3e-13)


@given(st.floats(0, 0.1), ANGLE)
def test_log_i0_near_zero(kappa, angle):
    # log I0 = κ²/4 - κ⁴/64 + κ⁶/576 - …
    q = kappa**2 / 4
    series = q - q**2 / 4 + q**3 / 9 - 11 * q**4 / 192 + 19 * q**5 / 600
    assert plane(kappa, angle).log_i0()[0] == pytest.approx(series, rel=1e-13, abs=1e-300)


@given(st.floats(1e-6, 1e6), ANGLE)
def test_the_mean_direction(kappa, angle):
    x, y = plane(kappa, angle).mean()
    expected = sp.i1e(kappa) / sp.i0e(kappa)
    np.testing.assert_allclose([x[0], y[0]], [expected * math.cos(angle), expected * math.sin(angle)], atol=1e-14 * expected)


@given(st.floats(0.1, 1e4), ANGLE)
def test_the_covariance_of_the_direction(kappa, angle):
    a = sp.i1e(kappa) / sp.i0e(kappa)
    slope = 1 - a / kappa - a * a
    u, v = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    expected = slope * np.outer(u, u) + a / kappa * np.outer(v, v)
    xx, xy, yy = (part[0] for part in plane(kappa, angle).covariance())
    np.testing.assert_allclose([[xx, xy], [xy, yy]], expected, atol=1e-14 * np.trace(expected) + 2e-15)


@pytest.mark.parametrize("kappa", [400.0, 1e4, 1e7])
def test_the_variance_along_the_mean_keeps_its_digits(kappa):
    # 1 - A/κ - A² = 1/(2κ²) + 1/(4κ³) + …: the difference would have lost all of them at κ = 1e7.
    w = 1 / kappa
    series = w**2 * (1 / 2 + w / 4 + 3 * w**2 / 8 + 25 * w**3 / 32 + 65 * w**4 / 32 + 3219 * w**5 / 512 + 721 * w**6 / 32)
    along, _ = plane(kappa, 0.3).spreads_far()
    assert along[0] == pytest.approx(series, rel=1e-14)


def test_both_regions_meet_at_forty():
    for name in ("log_i0", "mean", "covariance"):
        below, above = (np.asarray(getattr(plane(kappa, 0.7), name)()) for kappa in (40 - 1e-9, 40 + 1e-9))
        np.testing.assert_allclose(below, above, rtol=1e-9)


@given(st.floats(0, 1e18), ANGLE)
def test_single_precision_of_a_plane_vector(kappa, angle):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        vector = plane(kappa, angle, np.float32)
        found = [vector.log_i0(), *vector.mean(), *vector.covariance()]
    assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in found)
    if kappa > 0.1:
        assert found[0][0] == pytest.approx(math.log(sp.i0e(kappa)) + kappa, rel=2e-6)


@settings(deadline=None, max_examples=30)
@given(st.one_of(st.floats(0, 60), st.just(0.0), st.just(40.0)), ANGLE)
def test_mean_and_covariance_are_the_derivatives(kappa, angle):
    """By the library's own autodiff and by torch, twice, at zero and where the regions meet too."""
    point = np.array([kappa * math.cos(angle), kappa * math.sin(angle)])
    vector = PlaneVector.of(point[:1], point[1:])
    mean = np.concatenate(vector.mean())
    xx, xy, yy = (part[0] for part in vector.covariance())

    def log_i0(v):
        return PlaneVector.of(v[:1], v[1:]).log_i0()[0]

    np.testing.assert_allclose(gradient(log_i0)(point), mean, rtol=1e-12, atol=1e-14)
    rows = [gradient(lambda v, i=i: gradient(log_i0)(v)[i])(point) for i in range(2)]
    np.testing.assert_allclose(rows, [[xx, xy], [xy, yy]], rtol=1e-10, atol=1e-13)
    v = torch.from_numpy(point)
    np.testing.assert_allclose(torch.func.grad(log_i0)(v), mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(torch.autograd.functional.hessian(log_i0, v), [[xx, xy], [xy, yy]], rtol=1e-10, atol=1e-13)
