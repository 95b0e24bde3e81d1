"""Steps uphill of ``DelayedGratification``, and what a step looks at in one program: against their formulas."""

from __future__ import annotations

import array_api_compat
import numpy as np
import pytest

import curvature as cv
from curvature.matrices import Fisher
from curvature.optim.local import Local
from curvature.optim.objective import Loss

RULE = cv.DelayedGratification(boldness=2.0, slow=0.3, uphill=10.0)


@pytest.mark.parametrize(
    ("after", "predicted", "cosine", "taken"),
    [
        (2.0, -0.1, 0.5, True),  # ¼ · 2 ≤ 1
        (5.0, -0.1, 0.5, False),
        (5.0, -0.1, 0.9, True),  # 0.01 · 5
        (11.0, -0.1, 0.99, False),  # above ten times the best
        (2.0, -0.5, 0.5, False),  # the model promises more than 0.3 of the objective
        (1.5, -0.1, -0.9, False),  # back where it came from
        (float("inf"), -0.1, 1.0, False),
        (float("nan"), -0.1, 1.0, False),
        (1.5, float("nan"), 0.9, False),
    ],
)
def test_uphill_where_the_valley_goes_on_and_the_model_promises_little(after, predicted, cosine, taken):
    assert RULE.takes_uphill(1.0, after, best=1.0, predicted=predicted, cosine=cosine) is taken
    assert not cv.DelayedGratification(uphill=1.0).takes_uphill(1.0, after, best=1.0, predicted=predicted, cosine=cosine)


def test_a_run_stays_within_its_bound_of_the_best_and_arrives_sooner():
    """A narrow bent valley: with steps uphill fewer steps; never above ten times the least objective so far."""

    def apply(params, x):
        xp = array_api_compat.array_namespace(x)
        p, q = params[0], params[1]
        rows = [1e4 * (q - p * p * p), 1.0 - p]
        return xp.stack([xp.reshape(row, (1,)) for row in rows], axis=1) + 0.0 * x

    needed = {1.0: 0, 10.0: 0}
    for uphill in needed:
        model = cv.Model(apply, np.array([-1.0, 1.0]))
        problem = cv.Problem(model, cv.Gaussian(variance=1 / (2 * np.pi)), (np.zeros((1, 1)), np.zeros((1, 2))))
        opt = cv.NaturalGradient(damping=cv.DelayedGratification(uphill=uphill), learning_rate=1.0)
        params, state, best = problem.params, opt.init(problem), np.inf
        for _ in range(2000):
            params, state, info = opt.step(params, state)
            needed[uphill] += 1
            assert info.loss <= uphill * best
            best = min(best, info.loss)
            kept = float(problem.at(opt.best(state)).loss())
            assert kept == pytest.approx(min(best, float(problem.at(params).loss())), rel=1e-12)
            if info.loss < 1e-20:
                break
    with pytest.raises(cv.DataError, match="best parameters are kept from the first step on"):
        opt.best(opt.init(problem))
    assert needed[10.0] < needed[1.0], needed


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_step_looks_at_is_the_objective(be, generator, reduction, weighted):
    """h(θ + δ) and inner products from one program: the loss of the problem there, with l2."""
    x, y = generator.standard_normal((6, 3)), generator.integers(0, 2, 6)
    data = (be.asarray(x), be.asarray(y)) + ((be.asarray(generator.uniform(0.5, 2, 6)),) if weighted else ())
    model = cv.Model(lambda p, x: x @ p, be.asarray(generator.standard_normal((3, 2))))
    problem = cv.Problem(model, cv.Categorical(), data, reduction=reduction)
    xp, space = problem.xp, problem.space
    theta = space.ravel(xp, problem.params)
    delta = be.asarray(generator.standard_normal(6))
    local = Local(problem, Loss(), theta, theta, 0.0, Fisher(problem), 0.3, None, None)
    moved = theta + delta
    expected = float(problem.at(space.unravel(xp, moved)).loss()) + 0.15 * float(xp.sum(moved * moved))
    np.testing.assert_allclose(local.look(delta, (theta, delta)), [expected, float(xp.sum(theta * delta))], rtol=1e-12)
