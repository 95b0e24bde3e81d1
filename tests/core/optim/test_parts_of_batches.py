"""Which part of a batch the statistics and the quadratic model are taken from, and in which steps."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.optim.plan import Plan

from .conftest import flat, network


def sequences(examples: int, positions: int = 64, *, pooled: bool = False) -> cv.Problem:
    """A network of 52,000 parameters that is applied at every position of a sequence, or to the mean of its features."""

    def apply(p, x):
        xp = cv.namespace(x)
        hidden = xp.tanh(x @ p["u"])
        return (xp.mean(hidden, axis=1) if pooled else hidden) @ p["w"]

    generator = np.random.default_rng(0)
    params = {"u": 0.1 * generator.standard_normal((100, 400)), "w": 0.1 * generator.standard_normal((400, 30))}
    x = generator.standard_normal((examples, positions, 100))
    y = np.zeros((examples, 30) if pooled else (examples, positions, 30))
    return cv.Problem(cv.Model(apply, params), cv.Gaussian(), (x, y))


def chosen(problem: cv.Problem, **options) -> Plan:
    size = next(problem.batches()).size
    return cv.optim.choose(cv.NaturalGradient(fisher="monte-carlo", **options).options, problem, minibatch=size)


def test_predictions_are_counted_rather_than_examples():
    plan = chosen(sequences(8))
    assert (plan.positions, plan.statistics_every, plan.statistics_share, plan.model_share) == (64, 5, 0.125, 0.25)
    assert plan.learning_rate == cv.optim.SmoothedModel()
    few = chosen(sequences(7))
    assert (few.positions, few.statistics_every, few.statistics_share, few.model_share) == (64, 1, 1.0, 1.0)


def test_positions_that_end_in_one_prediction_count_once():
    plan = chosen(sequences(8, pooled=True))
    assert (plan.positions, plan.statistics_every, plan.statistics_share) == (1, 1, 1.0)


def test_a_recurrent_weight_is_met_at_every_step_and_its_head_once():
    def apply(p, x, *, every_step):
        xp = cv.namespace(x)
        hidden, heads = x[:, 0, :] * 0.0, []
        for step in range(x.shape[1]):
            hidden = xp.tanh(x[:, step, :] + hidden @ p["u"])
            heads.append(hidden @ p["w"])
        return xp.stack(heads, axis=1) if every_step else heads[-1]

    generator = np.random.default_rng(0)
    params = {"u": 0.1 * generator.standard_normal((220, 220)), "w": 0.1 * generator.standard_normal((220, 20))}
    x = generator.standard_normal((128, 4, 220))
    for every_step, expected in ((True, 4), (False, 1)):
        y = np.zeros((128, 4, 20) if every_step else (128, 20))
        model = cv.Model(lambda p, x, every_step=every_step: apply(p, x, every_step=every_step), params)
        assert chosen(cv.Problem(model, cv.Gaussian(), (x, y))).positions == expected


def test_a_method_without_layers_takes_coupled_examples():
    """Examples that see the mean of their batch have no layer statistics, and products need none."""

    def apply(p, x):
        hidden = x @ p["u"]
        return (hidden - cv.namespace(x).mean(hidden, axis=0, keepdims=True)) @ p["w"]

    generator = np.random.default_rng(0)
    params = {"u": 0.1 * generator.standard_normal((100, 500)), "w": 0.1 * generator.standard_normal((500, 3))}
    x, y = generator.standard_normal((20, 100)), generator.standard_normal((20, 3))
    problem = cv.Problem(cv.Model(apply, params), cv.Gaussian(), (x, y))
    opt = cv.NaturalGradient("conjugate-gradients", fisher="exact", damping=1.0, learning_rate=0.1)
    params, state, info = opt.step(problem.params, opt.init(problem), (x, y))
    assert state.plan.positions == 1
    assert float(problem.at(params).loss()) < info.loss


def test_what_is_given_stays():
    plan = chosen(sequences(8), statistics_every=2, statistics_share=0.5, model_share=1.0)
    assert (plan.statistics_every, plan.statistics_share, plan.model_share) == (2, 0.5, 1.0)


def test_a_run_resumes_with_the_plan_of_its_batches_though_the_problem_holds_others():
    """Positions are those of the first minibatch: where a run resumes it may be shown shorter sequences."""
    problem, opt = sequences(8), cv.NaturalGradient("diagonal", fisher="monte-carlo")
    batch = (problem.data.single.x, problem.data.single.y)
    params, state, _ = opt.step(problem.params, opt.init(problem), batch)
    shorter = sequences(8, positions=3)
    resumed = opt.load_state_dict(shorter, opt.state_dict(state))
    assert (resumed.plan.positions, resumed.plan.statistics_every) == (64, 5)
    here, _, _ = opt.step(params, state, batch)
    there, _, _ = opt.step(params, resumed, batch)
    np.testing.assert_array_equal(flat(problem, here), flat(problem, there))


@pytest.mark.parametrize(("options", "expected"), [({}, {0, 3, 6}), ({"refresh_every": 2}, {0, 2, 3, 4, 6})])
def test_only_steps_that_look_at_the_layers_record_how_parameters_enter(be, generator, monkeypatch, options, expected):
    """Loss and gradient alone have faster programs: fused attention, no outputs kept."""
    problem = network(be, generator, cv.Categorical())
    recorded, kind = [0], type(problem.backend)
    original = kind.parameter_uses

    def noted(self, *args):
        recorded[-1] += 1
        return original(self, *args)

    monkeypatch.setattr(kind, "parameter_uses", noted)
    opt = cv.NaturalGradient("kfac", statistics_every=3, damping=0.1, learning_rate=0.1, **({"refresh_every": 3} | options))
    params, state = problem.params, opt.init(problem)
    for _ in range(7):
        params, state, _ = opt.step(params, state)
        recorded.append(0)
    assert {step for step, times in enumerate(recorded) if times} == expected


def test_steps_that_record_nothing_are_the_same_steps(be, generator):
    problem = network(be, generator, cv.Categorical())
    ends = []
    for share in (1.0, 0.999999):  # all examples in both; with a share the whole batch is never recorded
        opt = cv.NaturalGradient(
            "kfac", fisher="exact", statistics_every=2, statistics_share=share, damping=0.1, learning_rate=0.1
        )
        params, state = problem.params, opt.init(problem)
        for _ in range(5):
            params, state, _ = opt.step(params, state)
        ends.append(flat(problem, params))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-10, atol=1e-12)
