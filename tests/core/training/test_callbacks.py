from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

import curvature as cv
from curvature.optim import Adam, GradientDescent
from curvature.training import EarlyStopping, Point, ProgressBar, Record, StopTraining, TrainingStep


class Follower:
    """Writes down when it is told what."""

    def __init__(self, raises: str = "") -> None:
        self.told: list[Any] = []
        self.raises = raises

    def _tell(self, what: str, *details: Any) -> None:
        self.told.append((what, *details))
        if what == self.raises:
            raise StopTraining("as asked")

    def __call__(self, event: TrainingStep) -> None:
        self._tell("step", event.step)

    def on_start(self, record: Record) -> None:
        self._tell("start", len(record.curve))

    def on_epoch(self, record: Record) -> None:
        self._tell("epoch", record.final.epoch, record.steps)

    def on_end(self, record: Record) -> None:
        self.told.append(("end", record.steps, record.complete))


def test_each_moment_in_its_order(problem: cv.Problem) -> None:
    follower = Follower()
    cv.fit(problem, GradientDescent(0.1), epochs=2, batch_size=100, callbacks=[follower])
    steps = [("step", 1), ("step", 2), ("epoch", 1, 2), ("step", 3), ("step", 4), ("epoch", 2, 4)]
    assert follower.told == [("start", 1), *steps, ("end", 4, True)]


@pytest.mark.parametrize(("moment", "steps"), [("start", 0), ("step", 1), ("epoch", 2)])
def test_each_may_stop_the_run(problem: cv.Problem, moment: str, steps: int) -> None:
    follower = Follower(moment)
    record = cv.fit(problem, GradientDescent(0.1), epochs=2, batch_size=100, callbacks=[follower])
    assert (record.stopped, record.steps, record.final.step) == ("as asked", steps, steps)
    assert follower.told[-1] == ("end", steps, False)


def test_the_end_is_told_of_a_failure_that_nobody_foresaw(problem: cv.Problem) -> None:
    follower = Follower()

    def fails(event: TrainingStep) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        cv.fit(problem, GradientDescent(0.1), epochs=2, callbacks=[follower, fails])
    assert follower.told[-1] == ("end", 1, False)


@pytest.mark.parametrize("given", [print, [print, 3], None, 3])
def test_what_is_no_sequence_of_functions_is_refused(problem: cv.Problem, given: Any) -> None:
    with pytest.raises(cv.DataError, match="callbacks is a sequence of functions"):
        cv.fit(problem, GradientDescent(0.1), epochs=1, callbacks=given)


# Early stopping -----------------------------------------------------------------------------------


def curve(losses: list[float], **test: list[float]) -> Record:
    points = [
        Point(e, e, 0.0, loss, {name.replace("_", " "): values[e] for name, values in test.items()})
        for e, loss in enumerate(losses)
    ]
    return Record(None, points)


def stops(stopping: EarlyStopping, losses: list[float], **test: list[float]) -> int | None:
    """The epoch after which it stops a run with these losses."""
    for epoch in range(1, len(losses)):
        try:
            stopping.on_epoch(curve(losses[: epoch + 1], **test))
        except StopTraining:
            return epoch
    return None


@pytest.mark.parametrize(
    ("options", "losses", "expected"),
    [
        ({"patience": 2}, [3, 2, 1, 0.5], None),
        ({"patience": 2}, [3, 2, 2.5, 1, 1, 1, 1], 5),
        ({"patience": 1}, [3, 3], 1),
        ({"patience": 2, "minimum_change": 0.5}, [3.0, 2.9, 2.8, 2.7], 2),
        ({"patience": 3, "minimum_change": 0.25}, [3.0, 2.9, 2.8, 2.7, 2.6], None),
        ({"patience": 2}, [3, float("nan"), float("nan"), 1], 2),
    ],
)
def test_patience(options: dict[str, Any], losses: list[float], expected: int | None) -> None:
    assert stops(EarlyStopping(**options), losses) == expected


def test_what_is_monitored() -> None:
    losses, accuracy = [3.0, 2.0, 1.0, 0.5], [0.1, 0.5, 0.4, 0.5]
    assert stops(EarlyStopping("accuracy", patience=2, maximise=True), losses, accuracy=accuracy) == 3
    assert stops(EarlyStopping("test loss", patience=1), losses, loss=[3.0, 2.0, 2.5, 1.0]) == 2
    with pytest.raises(cv.DataError, match="monitors 'accuracy', and this run evaluates 'loss'; give fit"):
        EarlyStopping("accuracy").on_start(curve([1.0]))


def test_it_stops_a_run_and_says_why(problem: cv.Problem) -> None:
    record = cv.fit(problem, Adam(0.01), epochs=50, callbacks=[EarlyStopping(patience=3, minimum_change=0.5)])
    assert record.stopped is not None
    assert "loss has not improved on" in record.stopped
    assert "by more than 0.5 in 3 epochs" in record.stopped
    assert record.steps < 50


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1.5}, {"minimum_change": -1.0}])
def test_early_stopping_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(cv.DataError, match=r"patience is a positive integer|minimum_change is a number ≥ 0"):
        EarlyStopping(**options)


# The progress bar ---------------------------------------------------------------------------------


def test_the_bar_is_shown_on_a_terminal(problem: cv.Problem) -> None:
    text = io.StringIO()
    bar = ProgressBar("digits", console=Console(file=text, force_terminal=True, width=100))
    cv.fit(problem, GradientDescent(0.1), epochs=2, batch_size=100, callbacks=[bar])
    assert "digits" in text.getvalue()
    assert "100%" in text.getvalue()
    assert "step 4, loss" in text.getvalue()


def test_nothing_is_shown_where_there_is_none(problem: cv.Problem, capsys: pytest.CaptureFixture[str]) -> None:
    cv.fit(problem, GradientDescent(0.1), epochs=2, progress=True)
    assert capsys.readouterr().out.strip() == ""


def test_without_rich_the_error_says_what_to_install(problem: cv.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., Any] = lambda name: None  # noqa: E731
    monkeypatch.setattr("curvature.training.progress_bar.find_spec", find)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'curvature\[demo\]'"):
        cv.fit(problem, GradientDescent(0.1), epochs=2, progress=True)
