"""Derivatives of derivatives, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from curvature import autodiff
from curvature.backend import namespace


def forward_derivative(f):
    def derivative(x):
        xp = namespace(x)
        return autodiff.jvp(f, x, xp.ones_like(x))[1]

    return derivative


def reverse_derivative(f):
    def derivative(x):
        xp = namespace(x)
        y, pull = autodiff.vjp(f, x)
        return pull(xp.ones_like(y))

    return derivative


B = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
FOURTH = float(np.sum(np.linalg.eigvalsh(B) ** 4))


def scaled(xp, x):
    return x[:, None, None] * xp.asarray(B)


MODES = {"forward": forward_derivative, "reverse": reverse_derivative}
CURVES = {
    "exp(2x)": (lambda xp, x: xp.exp(2.0 * x), lambda x: 8.0 * np.exp(2.0 * x)),
    "x^4": (lambda xp, x: x**4, lambda x: 24.0 * x),
    "sin": (lambda xp, x: xp.sin(x), lambda x: -np.cos(x)),
    "tanh": (
        lambda xp, x: xp.tanh(x),
        lambda x: (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
    ),
    "x log x": (lambda xp, x: x * xp.log(x), lambda x: -1.0 / x**2),
    "det of x B": (lambda xp, x: xp.linalg.det(scaled(xp, x)), lambda x: 6.0 * 8.0 + 0.0 * x),
    "log det of x B": (lambda xp, x: xp.linalg.slogdet(scaled(xp, x))[1], lambda x: 6.0 / x**3),
    "inverse of x B": (lambda xp, x: xp.linalg.trace(xp.linalg.inv(scaled(xp, x))), lambda x: -6.0 * 1.75 / x**4),
    "Cholesky factor of x B": (lambda xp, x: xp.linalg.cholesky(scaled(xp, x))[:, 0, 0], lambda x: 0.375 * 2**0.5 * x**-2.5),
    "R of x B": (lambda xp, x: xp.linalg.qr(scaled(xp, x)).R[:, 0, 0] ** 4, lambda x: 24.0 * 25.0 * x),
    "singular values of x B": (lambda xp, x: xp.sum(xp.linalg.svdvals(scaled(xp, x)) ** 4, axis=-1), lambda x: 24.0 * FOURTH * x),
    "products with an initial one": (
        lambda xp, x: xp.cumulative_prod(xp.stack([x, x, x * x]), axis=0, include_initial=True)[-1, :],
        lambda x: 24.0 * x,
    ),
    "an element chosen by a place": (
        lambda xp, x: xp.take_along_axis(xp.stack([x, x**4], axis=1), xp.asarray([[1]]), axis=1)[..., 0], lambda x: 24.0 * x,
    ),
}  # fmt: skip


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("third", MODES)
@pytest.mark.parametrize("second", MODES)
@pytest.mark.parametrize("first", MODES)
def test_third_derivative_in_every_order_of_modes(lib, curve, first, second, third):
    function, expected = CURVES[curve]
    x = lib.array([0.3, 0.7, 1.9])
    derivative = MODES[third](MODES[second](MODES[first](lambda t: function(namespace(t), t))))
    np.testing.assert_allclose(np.asarray(derivative(x)), expected(np.asarray(x)), rtol=1e-12)


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_levels_are_not_confused(lib, outer, inner):
    """d/dx [x · d/dy (x + y)] = 1, where a confusion of the two perturbations gives 2."""
    x = lib.array(3.0)

    def f(x):
        return x * MODES[inner](lambda y: x + y)(namespace(x).ones_like(x))

    assert float(MODES[outer](f)(x)) == 1.0


def test_closure_over_an_outer_array_that_the_inner_function_multiplies(lib):
    """d/dx [d/dy (x² y³) at y = x] = 3 · 4 x³."""
    x = lib.array(1.5)
    value = reverse_derivative(lambda x: reverse_derivative(lambda y: x * x * y**3)(x))(x)
    np.testing.assert_allclose(float(value), 12.0 * 1.5**3, rtol=1e-14)


def test_hvp_of_a_quadratic_is_its_matrix(lib):
    a = lib.normal(4, 4)
    lifted = autodiff.lift(a)
    x, v = lib.normal(4, seed=1), lib.normal(4, seed=2)
    product = autodiff.hvp(lambda x: x @ (lifted @ x), x, v)
    np.testing.assert_allclose(np.asarray(product), (np.asarray(a) + np.asarray(a).T) @ np.asarray(v), rtol=1e-12)


@pytest.mark.parametrize("transform", ["push", "pull"])
def test_linear_maps_of_a_finished_recording_are_differentiable(lib, transform):
    """push and pull are linear, so their derivative is themselves."""
    x, v, dv = (lib.normal(5, seed=s) for s in range(3))
    _, push, pull = autodiff.linearize(lambda x: namespace(x).sin(x) * x, x)
    apply = {"push": push, "pull": pull}[transform]
    y, dy = autodiff.jvp(apply, v, dv)
    np.testing.assert_array_equal(np.asarray(y), np.asarray(apply(v)))
    np.testing.assert_array_equal(np.asarray(dy), np.asarray(apply(dv)))


def test_derivative_of_a_gradient_that_does_not_depend_on_the_outer_variable(lib):
    x = lib.normal(3)

    def f(x):
        xp = namespace(x)
        return xp.sum(autodiff.gradient(lambda y: namespace(y).sum(2.0 * y))(x) * x)

    np.testing.assert_allclose(np.asarray(autodiff.gradient(f)(x)), 2.0, rtol=1e-15)
