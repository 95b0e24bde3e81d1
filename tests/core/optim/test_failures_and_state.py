"""Steps that leave the numbers, and states that are written and read."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv

from .conftest import flat, network


def same(a, b):
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(cv.trees.leaves(a), cv.trees.leaves(b), strict=True))


# Failures ---------------------------------------------------------------------------------------------


class Overflowing:
    """exp(exp θ), which a long step carries out of the numbers."""

    def __init__(self, be):
        model = cv.Model(lambda p, x: cv.namespace(p).exp(cv.namespace(p).exp(p)), be.asarray(np.array([1.0])))
        self.problem = cv.Problem(model, cv.Gaussian(), (None, be.asarray(np.array([[1e8]]))))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_rule_that_retries_never_leaves_the_numbers():
    """Where λ = 0 steps to exp(exp(θ)) = ∞ the damping rises until the step stays finite, within the one call."""
    problem = Overflowing(cv.backend("numpy")).problem
    opt = cv.NaturalGradient(damping=cv.DelayedGratification(uphill=1.0))
    params, state, losses = problem.params, opt.init(problem), []
    for _ in range(60):
        params, state, info = opt.step(params, state)
        losses.append(info.loss)
    assert np.all(np.isfinite(losses))
    assert losses == sorted(losses, reverse=True)
    assert float(np.exp(np.exp(params[0]))) == pytest.approx(1e8, rel=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_three_lost_steps_in_a_row_end_with_the_last_good_parameters(generator):
    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    x, y = problem.data.single.x, problem.data.single.y
    opt = cv.NaturalGradient("diagonal", damping=cv.LevenbergMarquardt(1.0), learning_rate=0.1)
    params, state, _ = opt.step(problem.params, opt.init(problem), (x, y))
    good = params
    broken = {name: value * np.inf if name == "w" else value for name, value in params.items()}
    for _ in range(2):
        back, state, info = opt.step(broken, state, (x, y))
        assert not info.accepted
        assert same(back, problem.params)
    with pytest.raises(cv.DivergedError, match=r"3\. time in a row.*batch 0, example 0: its loss is nan") as caught:
        opt.step(broken, state, (x, y))
    assert same(caught.value.params, problem.params)
    # A good step in between starts the count anew.
    _, state, _ = opt.step(good, opt.init(problem), (x, y))
    assert state.failures == 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_start_out_of_the_numbers_is_said_at_once(generator):
    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    opt = cv.NaturalGradient("kfac")
    broken = {**problem.params, "w": problem.params["w"] * np.nan}
    with pytest.raises(cv.DivergedError, match=r"step 0: .*parameters or the data that it starts from"):
        opt.step(broken, opt.init(problem))


# States -----------------------------------------------------------------------------------------------

VARIANTS = {
    "chosen": {},
    "kfac, refreshed seldom": {"approximation": "kfac", "refresh_every": 3, "statistics_every": 2},
    "kfac, factored damping": {"approximation": "kfac", "factored_damping": cv.optim.FactoredDampingSearch(2), "averaging": 0.9},
    "averaged model": {
        "approximation": "kfac",
        "damping": cv.LevenbergMarquardt(0.1, floor=0.01),
        "learning_rate": cv.optim.AveragedModel(greedy=1, interval=2),
    },
    "smoothed model": {"approximation": "kfac", "damping": 0.1, "learning_rate": cv.optim.SmoothedModel(warm=1)},
    "monte carlo": {"approximation": "kfac", "fisher": "monte-carlo"},
    "sample space": {"approximation": "sample-space", "damping": 0.1, "learning_rate": 0.5, "momentum": cv.Spring(0.8)},
    "conjugate gradients": {"approximation": "conjugate-gradients", "damping": 0.1, "learning_rate": 0.5},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("before", [0, 1, 4])
def test_a_run_goes_on_bit_for_bit(be, generator, variant, before, tmp_path):
    problem = network(be, generator, cv.Categorical())
    options = VARIANTS[variant]
    opt = cv.NaturalGradient(**options)
    params, state = problem.params, opt.init(problem)
    for _ in range(before):
        params, state, _ = opt.step(params, state)
    cv.save({"state": opt.state_dict(state), "params": params}, tmp_path / "state.safetensors")
    for _ in range(4):
        params, state, _ = opt.step(params, state)
    read = cv.load(tmp_path / "state.safetensors", backend=be)
    again = cv.NaturalGradient(**options)
    there, theirs = read["params"], again.load_state_dict(problem, read["state"])
    for _ in range(4):
        there, theirs, _ = again.step(there, theirs)
    np.testing.assert_array_equal(flat(problem, there), flat(problem, params))
    assert theirs.step == state.step
    assert theirs.damping == state.damping


def test_states_of_other_models_rules_and_versions_are_refused(generator):
    be = cv.backend("numpy")
    problem, other = network(be, generator, cv.Categorical()), network(be, generator, cv.Categorical(), outputs=4)
    opt = cv.NaturalGradient("kfac", damping=0.1, learning_rate=0.5)
    _, state, _ = opt.step(problem.params, opt.init(problem))
    packed = opt.state_dict(state)
    with pytest.raises(cv.DataError, match=r"another model: 'b' has shape \(3,\) there and \(4,\) here"):
        opt.load_state_dict(other, packed)
    with pytest.raises(cv.DataError, match=r"other rules \(method: KFAC.* there, EKFAC"):
        cv.NaturalGradient("ekfac", damping=0.1, learning_rate=0.5).load_state_dict(problem, packed)
    with pytest.raises(cv.DataError, match="has the format 99, of another version"):
        opt.load_state_dict(problem, packed | {"format": 99})
    with pytest.raises(cv.DataError, match="no state of a NaturalGradient"):
        opt.load_state_dict(problem, {})


def test_the_gradient_may_be_given(generator):
    """Half the gradient is half the step; the loss that is given is the one that is said."""
    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    opt = cv.NaturalGradient("exact", damping=0.1, learning_rate=0.5)
    whole, _, _ = opt.step(problem.params, opt.init(problem))
    half = {name: value / 2 for name, value in problem.gradient().items()}
    moved, _, info = opt.step(problem.params, opt.init(problem), gradient=half, loss=1.25)
    start = flat(problem, problem.params)
    np.testing.assert_allclose(flat(problem, moved) - start, (flat(problem, whole) - start) / 2, rtol=1e-9)
    assert info.loss == 1.25
    with pytest.raises(cv.ShapeError, match="the gradient"):
        opt.step(problem.params, opt.init(problem), gradient={"u": problem.params["u"]})


def test_statistics_of_a_part_of_the_batch(generator):
    """``statistics_share`` and ``model_share`` take the first examples."""
    problem = network(cv.backend("numpy"), generator, cv.Categorical(), n=32)
    x, y = problem.data.single.x, problem.data.single.y
    opt = cv.NaturalGradient("exact", damping=0.1, learning_rate=0.5, statistics_share=0.25)
    moved, state, _ = opt.step(problem.params, opt.init(problem))
    part = cv.Fisher(problem.at(data=(x[:8], y[:8]))).to_dense()
    np.testing.assert_allclose(state.statistics["matrix"], part, rtol=1e-10, atol=1e-14)
    gradient = flat(problem, problem.gradient())
    expected = -0.5 * np.linalg.solve(part + 0.1 * np.eye(len(gradient)), gradient)
    np.testing.assert_allclose(flat(problem, moved) - flat(problem, problem.params), expected, rtol=1e-8, atol=1e-12)
    for share in (0.0, 1.5):
        with pytest.raises(cv.DataError, match="statistics_share lies in"):
            cv.NaturalGradient("exact", statistics_share=share)
