"""A progress bar for each optimiser, with its loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from ...training import TrainingStep
from ...training.progress_bar import columns
from .contenders import Contender


class Bars:
    """The bars of all optimisers, one below the other."""

    def __init__(self, progress: Progress, contenders: list[Contender]) -> None:
        self._progress = progress
        width = max(len(contender.short) for contender in contenders)
        self._tasks = {
            contender.key: progress.add_task(contender.short.ljust(width), total=1.0, start=False, loss="")
            for contender in contenders
        }

    def follow(self, contender: Contender) -> _Follower:
        """The callback that moves the bar of an optimiser."""
        task = self._tasks[contender.key]
        self._progress.start_task(task)
        return _Follower(self._progress, task)


class _Follower:
    def __init__(self, progress: Progress, task: object) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, event: TrainingStep) -> None:
        text = f"step {event.step:>4}, loss {event.loss:.1e}"
        self._progress.update(self._task, completed=event.progress, loss=text)  # type: ignore[arg-type]


@contextmanager
def bars(console: Console, contenders: list[Contender]) -> Iterator[Bars]:
    """Show the bars while the block runs; a console that is ``quiet`` shows nothing."""
    with Progress(*columns(), console=console, disable=console.quiet) as progress:
        yield Bars(progress, contenders)
