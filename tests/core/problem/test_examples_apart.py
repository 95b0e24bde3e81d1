"""Models whose examples are not apart, or not where they seem to be, though the first of them is."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv

LABELS = np.array([0, 1, 2, 1, 0])


def problem(be, apply, shapes, x, y=LABELS):
    r = np.random.default_rng(1)
    params = {name: be.asarray(r.standard_normal(shape)) for name, shape in shapes.items()}
    return cv.Problem(cv.Model(apply, params), cv.Categorical(), (be.asarray(x), be.asarray(y)))


def summed_up(p, x):
    xp = cv.namespace(x)
    return xp.cumulative_sum(xp.tanh(x @ p["w"]), axis=0) @ p["v"]


def less_the_first(p, x):
    h = cv.namespace(x).tanh(x @ p["w"])
    return (h - h[:1, :]) @ p["v"]


@pytest.mark.parametrize("apply", [summed_up, less_the_first])
@pytest.mark.parametrize("method", ["kfac", "diagonal", "exact"])
def test_what_leaves_the_first_example_alone_is_refused(be, generator, apply, method):
    coupled = problem(be, apply, {"v": (4, 3), "w": (3, 4)}, generator.standard_normal((5, 3)))
    with pytest.raises(cv.ModelError, match="couples its examples"):
        cv.approximate(cv.Fisher(coupled), method)


def sorted_and_not(p, x):
    """The layer sees the examples in order of their first feature, and once more as they come."""
    xp = cv.namespace(x)
    order = xp.argsort(x[:, 0])
    back = xp.argsort(order)
    h = xp.take(xp.tanh(xp.take(x, order, axis=0) @ p["w"]), back, axis=0)
    return (h + xp.sin(x @ p["w"])) @ p["v"]


def from_a_table(p, x):
    """Rows of a table that is made of parameters: as many as examples, or a multiple."""
    xp = cv.namespace(p["v"])
    table = xp.tanh(xp.astype(xp.reshape(xp.arange(16), (8, 2)), p["v"].dtype) / 16 @ p["w"])
    return xp.mean(xp.reshape(xp.take(table, xp.reshape(x, (-1,)), axis=0), (x.shape[0], 2, -1)), axis=1) @ p["v"]


@pytest.mark.filterwarnings("ignore::curvature.FallbackWarning")
@pytest.mark.parametrize("method", ["diagonal", "exact"])
def test_rows_that_are_not_the_examples(be, generator, method):
    x = generator.standard_normal((5, 3))
    x[:, 0] = [-9.0, 3.0, 1.0, 2.0, 0.0]  # the first stays the first
    numbers = np.array([[0, 1], [2, 1], [5, 0], [4, 4]])
    cases = [
        problem(be, sorted_and_not, {"v": (4, 3), "w": (3, 4)}, x),
        problem(be, from_a_table, {"v": (4, 3), "w": (2, 4)}, numbers, LABELS[:4]),
    ]
    for case in cases:
        dense = be.to_numpy(cv.GGN(case).to_dense())
        found = cv.approximate(cv.GGN(case), method)
        assert case.uses().kinds["w"] == "general"
        np.testing.assert_allclose(be.to_numpy(found.diagonal()), np.diag(dense), rtol=1e-9, atol=1e-12)


def less_a_product(p, x):
    """b - x W: b is no bias of the product, whose sign is the other."""
    return p["b"] - x @ p["w"]


def test_a_product_that_is_subtracted(be, generator):
    case = problem(be, less_a_product, {"b": (3,), "w": (3, 3)}, generator.standard_normal((5, 3)))
    dense = be.to_numpy(cv.GGN(case).to_dense())
    assert "general" not in case.uses().kinds.values()
    np.testing.assert_allclose(be.to_numpy(cv.approximate(cv.GGN(case), "diagonal").diagonal()), np.diag(dense), rtol=1e-10)
    v = generator.standard_normal(case.space.size)
    # The outputs are linear in the parameters and the likelihood is canonical: the Hessian is the GGN.
    np.testing.assert_allclose(be.to_numpy(cv.Hessian(case) @ be.asarray(v)), dense @ v, rtol=1e-10, atol=1e-13)


def test_a_likelihood_that_cannot_be_hashed(be, generator):
    from dataclasses import dataclass

    @dataclass
    class Scaled(cv.Likelihood):
        scale: float = 1.0

        def log_prob(self, outputs, y):
            return -cv.namespace(outputs).sum((outputs - y) ** 2, axis=1) / self.scale

    x, y = be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.standard_normal((5, 2)))
    model = cv.Model(lambda p, x: x @ p["w"], {"w": be.asarray(generator.standard_normal((3, 2)))})
    losses = [float(cv.Problem(model, Scaled(scale), (x, y)).loss()) for scale in (1.0, 2.0)]
    assert losses[0] == pytest.approx(2 * losses[1])
