from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.optim import Adam, GradientDescent
from curvature.training import Point, Record, StopTraining, TrainingStep, fit


def accuracy(outputs: Any, y: Any) -> float:
    return float(np.mean(np.argmax(outputs, axis=1) == y))


def parts(problem: cv.Problem) -> tuple[Any, Any]:
    """The first 150 examples to train, the others to test."""
    whole = problem.data.single
    assert whole is not None
    return (whole.x[:150], whole.y[:150]), (whole.x[150:], whole.y[150:])


def test_the_record_is_that_of_the_run(problem: cv.Problem) -> None:
    train, test = parts(problem)
    problem = problem.at(data=train)
    record = fit(problem, Adam(0.01), epochs=4, batch_size=40, test=test, metrics={"accuracy": accuracy})
    assert record.complete
    assert [(point.epoch, point.step) for point in record.curve] == [(e, 3 * e) for e in range(5)]
    assert record.steps == 12
    times = [point.seconds for point in record.curve]
    assert times == sorted(times)
    assert times[0] == 0 < record.seconds == times[-1]
    assert record.curve[0].loss == float(problem.loss())
    assert record.final.loss == float(problem.at(record.params).loss()) < record.curve[0].loss
    there = problem.at(record.params, test)
    outputs = there.outputs(record.params, next(there.batches()))
    assert record.final.test == {"loss": pytest.approx(float(there.loss())), "accuracy": accuracy(outputs, test[1])}


def test_natural_gradient_on_all_examples(problem: cv.Problem) -> None:
    record = fit(problem, cv.NaturalGradient("kfac", damping=0.1, learning_rate=cv.QuadraticModel()), epochs=15)
    assert record.steps == 15
    assert record.final.loss < 0.3 * record.curve[0].loss


def test_data_in_batches_is_a_step_each(problem: cv.Problem) -> None:
    train, test = parts(problem)
    record = fit(problem.at(data=[train, test]), GradientDescent(0.1), epochs=2)
    assert record.steps == 4


def test_one_seed_one_run(problem: cv.Problem) -> None:
    losses = [fit(problem, GradientDescent(0.1), epochs=2, batch_size=32, seed=s).final.loss for s in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_the_callback_sees_every_step(problem: cv.Problem) -> None:
    seen: list[TrainingStep] = []
    record = fit(problem, GradientDescent(0.1), epochs=2, batch_size=50, callbacks=[seen.append])
    assert [event.step for event in seen] == list(range(1, 9))
    assert [event.epoch for event in seen] == [1] * 4 + [2] * 4
    assert [event.progress for event in seen] == [k / 8 for k in range(1, 9)]
    assert all(event.loss == event.info.loss for event in seen)
    assert seen[-1].seconds == record.seconds


class Plugin:
    """What a plugin with a ``curvature_training_step`` sees, and when it asks for an end."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.last = 10**9

    @cv.hookimpl
    def curvature_training_step(self, event: TrainingStep) -> None:
        self.steps.append(event.step)
        if event.step == self.last:
            raise StopTraining("that will do")


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    plugin = Plugin()
    name = cv.register(plugin, name="watcher")
    yield plugin
    cv.unregister(name)


def test_a_plugin_sees_every_step_and_can_stop(problem: cv.Problem, plugin: Plugin) -> None:
    fit(problem, GradientDescent(0.1), epochs=2, batch_size=100)
    assert plugin.steps == [1, 2, 3, 4]
    plugin.last = 3
    record = fit(problem, GradientDescent(0.1), epochs=2, batch_size=100)
    assert (record.steps, record.stopped, record.complete) == (3, "that will do", False)
    # It stopped within an epoch: the end has a point of its own.
    assert [(point.epoch, point.step) for point in record.curve] == [(0, 0), (1, 2), (1, 3)]


def test_a_callback_can_stop(problem: cv.Problem) -> None:
    def enough(event: TrainingStep) -> None:
        if event.loss < 2:
            raise StopTraining(f"loss {event.loss}")

    record = fit(problem, Adam(0.03), epochs=50, batch_size=50, callbacks=[enough])
    assert record.stopped is not None
    assert record.steps < 200


def test_an_interrupt_keeps_what_was_done(problem: cv.Problem) -> None:
    def interrupt(event: TrainingStep) -> None:
        if event.step == 5:
            raise KeyboardInterrupt

    record = fit(problem, GradientDescent(0.1), epochs=9, batch_size=50, callbacks=[interrupt])
    assert record.interrupted
    assert not record.complete
    assert record.steps == record.final.step == 5
    assert record.final.loss == float(problem.at(record.params).loss())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rate", [1e200, 1e308])
def test_numbers_that_fail_end_the_run_and_are_said(problem: cv.Problem, rate: float) -> None:
    record = fit(problem, GradientDescent(rate), epochs=9, batch_size=50)
    assert record.error is not None
    assert "the objective is" in record.error or "the training loss is" in record.error
    assert record.steps < 36
    json.dumps(record.as_dict(), allow_nan=False)


def test_mistakes_of_the_caller_are_raised(problem: cv.Problem) -> None:
    train, _ = parts(problem)
    with pytest.raises(cv.DataError, match="outside 0 … 9"):
        fit(problem.at(data=(train[0], train[1] + 5)), GradientDescent(0.1), epochs=1)
    for epochs in (0, 1.5):
        with pytest.raises(cv.DataError, match="epochs is a positive integer"):
            fit(problem, GradientDescent(0.1), epochs=epochs)  # type: ignore[arg-type]


def test_reached_is_the_first_point_that_low() -> None:
    record = Record(None, [Point(e, e, float(e), loss) for e, loss in enumerate([3.0, 1.0, 2.0, 0.5])])
    assert record.reached(1.5) == record.curve[1]
    assert record.reached(0.1) is None


def test_what_json_lacks_is_none() -> None:
    record = Record(None, [Point(0, 0, 0.0, math.nan, {"loss": math.inf})])
    assert record.as_dict()["curve"][0] == {"epoch": 0, "step": 0, "seconds": 0.0, "loss": None, "test": {"loss": None}}
