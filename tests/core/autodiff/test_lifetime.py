"""An array that outlives its transform is refused, wherever it turns up again."""

from __future__ import annotations

import numpy as np
import pytest

from curvature import autodiff
from curvature.backend import namespace
from curvature.errors import DifferentiationError

TRANSFORMS = {
    "vjp": lambda f, x: autodiff.vjp(f, x),
    "jvp": lambda f, x: autodiff.jvp(f, x, x),
    "linearize": lambda f, x: autodiff.linearize(f, x),
    "gradient": lambda f, x: autodiff.gradient(lambda x: namespace(x).sum(f(x)))(x),
}
MESSAGE = "whose differentiation has ended.*return it from the function"


def leaked(transform, x):
    kept = []

    def f(x):
        kept.append(x * 2.0)
        return x * x

    TRANSFORMS[transform](f, x)
    return kept[0]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_used_after_the_end(lib, transform):
    y = leaked(transform, lib.normal(3))
    with pytest.raises(DifferentiationError, match=f"multiply of an array {MESSAGE}"):
        y * 2.0
    with pytest.raises(DifferentiationError, match=f"sum of an array {MESSAGE}"):
        namespace(y).sum(y)


@pytest.mark.parametrize("later", TRANSFORMS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_used_in_a_later_transform(lib, transform, later):
    y = leaked(transform, lib.normal(3))
    with pytest.raises(DifferentiationError, match=MESSAGE):
        TRANSFORMS[later](lambda x: x * y, lib.normal(3))
    with pytest.raises(DifferentiationError, match=f"differentiation at an array {MESSAGE}"):
        TRANSFORMS[later](lambda x: x * x, y)


@pytest.mark.parametrize("later", ["vjp", "jvp", "linearize"])
def test_returned_from_a_later_transform(lib, later):
    y = leaked("vjp", lib.normal(3))
    with pytest.raises(DifferentiationError, match=f"returns an array {MESSAGE}"):
        TRANSFORMS[later](lambda x: y, lib.normal(3))


def test_a_cache_filled_during_an_earlier_evaluation(lib):
    """The mistake in practice: a model that keeps what it computed from its parameters."""
    cache = {}

    def model(w):
        if "scaled" not in cache:
            cache["scaled"] = w / 2.0
        return namespace(w).sum(cache["scaled"] * w)

    autodiff.gradient(model)(lib.normal(3))
    with pytest.raises(DifferentiationError, match=MESSAGE):
        autodiff.gradient(model)(lib.normal(3))


def test_after_an_error_too(lib):
    kept = []

    def f(x):
        kept.append(x)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        autodiff.vjp(f, lib.normal(3))
    with pytest.raises(DifferentiationError, match=MESSAGE):
        kept[0] + 1.0


def test_an_inner_array_used_in_the_outer_function(lib):
    """Inside of an outer transform that still runs, the inner one has ended all the same."""
    kept = []

    def outer(x):
        autodiff.vjp(lambda y: kept.append(y) or y * y, x)
        return kept[0] * x

    with pytest.raises(DifferentiationError, match=MESSAGE):
        autodiff.vjp(outer, lib.normal(3))


def test_constants_and_results_live_on(lib):
    x = lib.normal(3)
    constants = []
    _, push, pull = autodiff.linearize(lambda x: constants.append(x > 0) or x * x, x)
    np.testing.assert_array_equal(np.asarray((~constants[0])._value), np.asarray(x) <= 0)
    np.testing.assert_allclose(np.asarray(push(pull(x))), 4 * np.asarray(x) ** 3)
