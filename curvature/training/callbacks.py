"""Those who follow a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import DataError
from ..registry import hooks
from .events import TrainingStep
from .record import Record

Callback = Callable[[TrainingStep], object]
"""Called after every step. It may have further methods, each called with the ``Record`` so far, ``record.final`` being the last
point of its curve:

- ``on_start(record)``: before the first step, also of a run that goes on from a checkpoint,
- ``on_epoch(record)``: after each epoch, once it has been evaluated,
- ``on_end(record)``: at the end, however it came about.

All but ``on_end`` may raise ``StopTraining``. A run that goes on from a checkpoint may show again what it showed since that
was written: a callback that must not count twice looks at the record rather than counting.
"""


class Callbacks:
    """All of them, after the hooks of the plugins.

    Args:
        given: the callbacks, in the order in which they are called.
        progress_bar: one more, called first: what others print then stands below a bar that is up to date.

    Raises:
        DataError: if that is no sequence of functions.
    """

    def __init__(self, given: Iterable[Callback], *, progress_bar: Callback | None = None) -> None:
        anything: Any = given
        found: list[Any] = list(anything) if isinstance(anything, Iterable) and not callable(anything) else [None]
        if not all(callable(callback) for callback in found):
            raise DataError(f"callbacks is a sequence of functions of a TrainingStep, such as [print]; got {given!r}")
        self._callbacks: list[Callback] = found if progress_bar is None else [progress_bar, *found]

    def step(self, event: TrainingStep) -> None:
        """After a step."""
        hooks().curvature_training_step(event=event)
        for callback in self._callbacks:
            callback(event)

    def start(self, record: Record) -> None:
        """Before the first step."""
        self._tell("on_start", record)

    def epoch(self, record: Record) -> None:
        """After the evaluation at the end of an epoch."""
        self._tell("on_epoch", record)

    def end(self, record: Record) -> None:
        """At the end."""
        self._tell("on_end", record)

    def _tell(self, what: str, record: Record) -> None:
        for callback in self._callbacks:
            method = getattr(callback, what, None)
            if method is not None:
                method(record)
