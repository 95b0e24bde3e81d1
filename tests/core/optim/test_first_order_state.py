"""The state of a first-order optimiser, packed and loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.optim import Adam, GradientDescent


def problem_of(width: int = 3, dtype: str = "float64", names: tuple[str, str] = ("a", "b")) -> cv.Problem:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 4)).astype(dtype), rng.standard_normal((8, width)).astype(dtype)
    params = {names[0]: rng.standard_normal((4, width)).astype(dtype), names[1]: np.zeros(width, dtype)}
    return cv.Problem(cv.Model(lambda p, x: x @ p[names[0]] + p[names[1]], params), cv.Gaussian(1.0), (x, y))


def after(optimizer: Any, problem: cv.Problem, steps: int, params: Any = None, state: Any = None) -> tuple[Any, Any]:
    params = problem.params if params is None else params
    state = optimizer.init(problem) if state is None else state
    for _ in range(steps):
        params, state, _ = optimizer.step(params, state)
    return params, state


@pytest.mark.parametrize("optimizer", [GradientDescent(0.1), GradientDescent(0.1, nesterov=True), Adam(0.1)], ids=type)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_loaded_state_goes_on_as_the_one_that_was_packed(optimizer: Any, steps: int) -> None:
    problem = problem_of()
    params, state = after(optimizer, problem, steps)
    packed = optimizer.state_dict(state)
    assert packed["step"] == steps
    loaded = optimizer.load_state_dict(problem_of(), packed)
    expected, _ = after(optimizer, problem, 2, params, state)
    found, _ = after(optimizer, problem, 2, params, loaded)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_what_is_in_it() -> None:
    _, state = after(Adam(0.1), problem_of(), 1)
    packed = Adam(0.1).state_dict(state)
    assert packed["optimizer"] == "Adam"
    assert {name: set(moment) for name, moment in packed["moments"].items()} == {
        "first moment": {"a", "b"},
        "second moment": {"a", "b"},
    }
    assert GradientDescent(0.1).state_dict(GradientDescent(0.1).init(problem_of())) == {
        "optimizer": "GradientDescent",
        "step": 0,
        "moments": {},
    }


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (problem_of(width=2), r"the first moment of Adam is of another model: 'a' is float64 of shape \(4, 3\), the parameter"),
        (problem_of(dtype="float32"), "'a' is float64 .*, the parameter float32"),
        (problem_of(names=("a", "c")), "the state has it and the model has not: parameter 'b'"),
        (problem_of(names=("A", "b")), "the model has it and the state has not: parameter 'A'"),
    ],
    ids=["shape", "dtype", "extra", "missing"],
)
def test_a_state_of_another_model_is_refused(other: cv.Problem, message: str) -> None:
    _, state = after(Adam(0.1), problem_of(), 1)
    with pytest.raises(cv.DataError, match=message):
        Adam(0.1).load_state_dict(other, Adam(0.1).state_dict(state))


def test_a_state_of_another_optimiser_is_refused() -> None:
    _, state = after(Adam(0.1), problem_of(), 1)
    with pytest.raises(cv.DataError, match="a state of Adam, not of GradientDescent"):
        GradientDescent(0.1).load_state_dict(problem_of(), Adam(0.1).state_dict(state))


def test_a_state_of_another_library_is_refused() -> None:
    torch = pytest.importorskip("torch")
    _, state = after(GradientDescent(0.1), problem_of(), 1)
    packed = GradientDescent(0.1).state_dict(state)
    packed["moments"]["velocity"] = {name: torch.asarray(a) for name, a in packed["moments"]["velocity"].items()}
    with pytest.raises(cv.DataError, match="'a' is a Tensor, no array of backend 'numpy'"):
        GradientDescent(0.1).load_state_dict(problem_of(), packed)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (None, "no state of GradientDescent: it has no 'optimizer'"),
        ({"step": 1}, "pass what state_dict returned"),
        ({"optimizer": "GradientDescent", "step": -1, "moments": {}}, "its step is -1"),
        ({"optimizer": "GradientDescent", "step": 1, "moments": []}, "its moments are a list"),
        ({"optimizer": "GradientDescent", "step": 1, "moments": {}}, r"after 1 steps does not have the moments \[\]"),
        ({"optimizer": "GradientDescent", "step": 1, "moments": {"velocity": 3}}, "the velocity of .* got a int"),
    ],
)
def test_what_is_no_state_is_refused(packed: Any, message: str) -> None:
    with pytest.raises(cv.DataError, match=message):
        GradientDescent(0.1).load_state_dict(problem_of(), packed)
