"""What is special about FOOF; that it means what the library means is what the conformance suite tests."""

import numpy as np
import pytest

import curvature as cv
from curvature.approximation import layout_of

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)
PARAMS = {
    "in": {"weight": RNG.normal(size=(4, 5)), "bias": RNG.normal(size=5)},
    "out": {"weight": RNG.normal(size=(5, 3)), "bias": RNG.normal(size=3)},
}


def network(params, x):
    hidden = cv.namespace(x).tanh(x @ params["in"]["weight"] + params["in"]["bias"])
    return hidden @ params["out"]["weight"] + params["out"]["bias"]


@pytest.fixture
def fisher():
    return cv.Fisher(cv.Problem(cv.Model(network, PARAMS), cv.Categorical(), (X, Y)))


def by_hand():
    """E[ā āᵀ] ⊗ (E‖g‖² / d_out) I of both layers in plain NumPy, in flat order: a layer's bias before its weight's rows."""
    hidden = np.tanh(X @ PARAMS["in"]["weight"] + PARAMS["in"]["bias"])
    p = np.exp(hidden @ PARAMS["out"]["weight"] + PARAMS["out"]["bias"])
    p = p / p.sum(axis=1, keepdims=True)
    at_output = np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p)  # E_y[g gᵀ] of each example
    back = np.einsum("nh,hc->nch", 1 - hidden**2, PARAMS["out"]["weight"])
    at_hidden = np.einsum("nch,ncd,ndk->nhk", back, at_output, back)
    total = np.zeros((43, 43))
    for start, inputs, moments in ((0, X, at_hidden), (25, hidden, at_output)):
        extended = np.concatenate([np.ones((30, 1)), inputs], axis=1)
        d_out = moments.shape[1]
        block = np.kron(extended.T @ extended / 30, np.eye(d_out) * np.trace(moments.mean(axis=0)) / d_out)
        total[start : start + len(block), start : start + len(block)] = block
    return total


def test_it_is_the_formula(fisher):
    np.testing.assert_allclose(cv.approximate(fisher, "foof").to_dense(), by_hand(), rtol=1e-10, atol=1e-13)


def test_a_damped_step(fisher):
    gradient = fisher.problem.space.ravel(np, fisher.problem.gradient())
    step = cv.approximate(fisher, "foof").solve(gradient, damping=0.1)
    np.testing.assert_allclose(step, np.linalg.solve(by_hand() + 0.1 * np.eye(43), gradient), rtol=1e-9)


def test_the_direction_does_not_depend_on_the_gradients_covariance(fisher):
    """Per layer it is E[ā āᵀ]⁻¹ times the gradient: of every Fisher-type matrix the same, up to a number for each layer."""
    gradient = fisher.problem.gradient()
    exact = cv.approximate(fisher, "foof").solve(gradient)
    empirical = cv.approximate(cv.EmpiricalFisher(fisher.problem), "foof").solve(gradient)
    for layer in ("in", "out"):
        one, other = (np.concatenate([step[layer]["bias"], step[layer]["weight"].ravel()]) for step in (exact, empirical))
        np.testing.assert_allclose(one / np.linalg.norm(one), other / np.linalg.norm(other), rtol=1e-8)


def test_what_is_no_linear_map_gets_its_diagonal():
    scaled = cv.Model(lambda p, x: (x * p["scale"]) @ p["weight"], {"scale": np.ones(4), "weight": PARAMS["in"]["weight"]})
    fisher = cv.Fisher(cv.Problem(scaled, cv.Gaussian(), (X, RNG.normal(size=(30, 5)))))
    found, exact = (np.asarray(a.to_dense())[:4, :4] for a in (cv.approximate(fisher, "foof"), fisher))
    assert np.abs(exact - np.diag(np.diag(exact))).max() > 0.1
    np.testing.assert_allclose(found, np.diag(np.diag(exact)), rtol=1e-12)


def test_it_is_saved_and_loaded(fisher, tmp_path):
    operator = cv.approximate(fisher, "foof")
    cv.save(operator, tmp_path / "foof.safetensors")
    np.testing.assert_array_equal(cv.load(tmp_path / "foof.safetensors").to_dense(), operator.to_dense())


def test_moving_averages_are_averages_of_the_statistics(fisher):
    method = cv.approximation("foof")
    whole = cv.estimate(fisher, method, fisher.backend)
    average = method.merge([whole, whole], [0.25, 0.75])
    np.testing.assert_allclose(average["in.weight+in.bias"]["c"], whole["in.weight+in.bias"]["c"], rtol=1e-12)
    assert whole["in.weight+in.bias"]["c"] > 0


def test_it_says_how_much_it_holds(fisher):
    held = []
    operator = cv.approximate(fisher, "foof")
    operator.map_arrays(lambda array: held.append(array.nbytes) or array, operator.backend)
    assert cv.approximation("foof").cost(layout_of(fisher)).bytes == sum(held) > 0


def test_a_hessian_is_refused(fisher):
    with pytest.raises(cv.UnsupportedError, match="Hessian"):
        cv.approximate(cv.Hessian(fisher.problem), "foof")
