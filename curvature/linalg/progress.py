"""Long work says how far it has come."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

Progress = bool | Callable[[int, int, str], None] | None
"""None: a bar on stderr, if that is a terminal, once the work has run for ``PATIENCE`` seconds (it needs the package
rich); True: a bar at once; False: nothing; or a function of (products done, products planned now, what is being done)."""

PATIENCE = 2.0
"""Seconds before an automatic bar appears: most work is done by then."""


class Meter:
    """Tells ``progress`` how many products are done; a context, at whose end a bar goes away.

    Raises:
        TypeError: if ``progress`` is none of the things that it may be.
    """

    def __init__(self, progress: Progress = None) -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise TypeError(f"progress is None, a bool or a function of (done, total, text), got {progress!r}")
        self._progress = progress
        self._started = time.monotonic()
        self._bar: Any = None

    def tell(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` products."""
        if callable(self._progress):
            self._progress(done, total, text)
        elif self._progress is True or (self._progress is None and self._is_due()):
            if self._bar is None:
                self._bar = _RichBar(text) if importlib.util.find_spec("rich") else _Line()
            self._bar.show(done, total, text)

    def _is_due(self) -> bool:
        if self._bar is not None:
            return True
        if time.monotonic() - self._started < PATIENCE or importlib.util.find_spec("rich") is None:
            return False
        return sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _RichBar:
    """A bar of rich on stderr that vanishes at the end."""

    def __init__(self, text: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(text)
        self._bar.start()

    def show(self, done: int, total: int, text: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=text)

    def close(self) -> None:
        self._bar.stop()


class _Line:
    """One line on stderr that is written over: for those who ask for progress and have no rich."""

    def show(self, done: int, total: int, text: str) -> None:
        sys.stderr.write(f"\r{text}: {done} of {total} products")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")
