"""Trees of parameters in JAX's own containers."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
from curvature.trees import ParameterSpace

X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)))
Y = jnp.asarray([0, 1, 0, 1, 1])


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    kernel: jax.Array
    bias: jax.Array


@jax.tree_util.register_pytree_node_class
class Pair:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def tree_flatten(self):
        return (self.first, self.second), "static"

    @classmethod
    def tree_unflatten(cls, static, children):
        assert static == "static"
        return cls(*children)


class Affine(eqx.Module):
    kernel: jax.Array
    bias: jax.Array
    name: str = eqx.field(static=True)


def arrays():
    r = np.random.default_rng(1)
    return [jnp.asarray(r.standard_normal(shape)) for shape in ((3, 4), (4,), (4, 2), (2,))]


def apply(p, x):
    (w, b), (v, c) = (tuple(jax.tree.leaves(layer)) for layer in (p["a"], p["z"]))
    return jnp.tanh(x @ w + b) @ v + c


CONTAINERS = {
    "dataclass": (lambda w, b: Layer(w, b), ("a.kernel", "a.bias", "z.kernel", "z.bias")),
    "class": (lambda w, b: Pair(w, b), ("a.0", "a.1", "z.0", "z.1")),
    "equinox": (lambda w, b: Affine(w, b, "static"), ("a.kernel", "a.bias", "z.kernel", "z.bias")),
    "nested": (lambda w, b: Pair([w], Layer(b, None)), ("a.0.0", "a.1.kernel", "z.0.0", "z.1.kernel")),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_parameters_in_containers_of_jax(name):
    """The same problem as with plain dictionaries, and results come back in the containers."""
    make, names = CONTAINERS[name]
    w, b, v, c = arrays()
    params = {"a": make(w, b), "z": make(v, c)}
    problem = cv.Problem((apply, params), cv.Categorical(), (X, Y))
    assert problem.space.names == names
    gradient = problem.gradient()
    assert type(gradient["a"]) is type(params["a"])
    expected = jax.grad(lambda p: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(apply(p, X)), Y[:, None], 1)))(params)
    for found, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert ParameterSpace.of(gradient).treespec == problem.space.treespec
    plain = cv.Problem((lambda p, x: jnp.tanh(x @ p[0] + p[1]) @ p[2] + p[3], [w, b, v, c]), cv.Categorical(), (X, Y))
    dense, other = (cv.approximate(cv.Fisher(q), "kfac").to_dense() for q in (problem, plain))
    np.testing.assert_allclose(dense, other, rtol=1e-10, atol=1e-12)
    step = cv.approximate(cv.Fisher(problem), "kfac").solve(gradient, damping=0.1)
    assert type(step["z"]) is type(params["z"])


def test_what_jax_does_not_know_either_is_refused():
    class Stranger:
        pass

    with pytest.raises(cv.DataError, match="Stranger"):
        cv.Model(lambda p, x: x, {"a": jnp.ones(2), "b": Stranger()})
