"""A progress bar in the terminal."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from .events import TrainingStep
from .record import Record


def columns() -> tuple[Any, ...]:
    """What a bar of ``rich.progress`` shows of a run; its tasks have a field ``loss``."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}", style="dim"),
        TimeElapsedColumn(),
    )


class ProgressBar:
    """A bar with the step and its loss, where the output is a terminal; nothing where it goes to a file.

    Args:
        label: what stands before it.
        console: a ``rich.console.Console`` to draw on; None is standard output.

    Raises:
        ModuleNotFoundError: without rich.
    """

    def __init__(self, label: str = "fit", *, console: Any = None) -> None:
        if find_spec("rich") is None:
            raise ModuleNotFoundError("a progress bar needs rich, which is not installed; run: pip install 'curvature[demo]'")
        self._label = label
        self._console = console
        self._progress: Any = None
        self._task: Any = None

    def on_start(self, record: Record) -> None:
        """Draw it."""
        from rich.console import Console
        from rich.progress import Progress

        console = self._console or Console()
        # transient stays off: the bar of a finished run is left to be read.
        self._progress = Progress(*columns(), console=console, disable=not (console.is_terminal or console.is_jupyter))
        self._task = self._progress.add_task(self._label, total=1.0, loss="")
        self._progress.start()

    def __call__(self, event: TrainingStep) -> None:
        """Move it."""
        self._progress.update(self._task, completed=event.progress, loss=f"step {event.step}, loss {event.loss:.4g}")

    def on_end(self, record: Record) -> None:
        """Let go of the terminal."""
        if self._progress is not None:
            self._progress.stop()
