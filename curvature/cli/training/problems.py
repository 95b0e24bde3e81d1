"""Input that cannot be: said in one line, before any long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ...errors import CurvatureError

# import name → what pip calls it
NEEDED = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}


class BadInput(Exception):
    """Something that was asked for cannot be done; the message says what and what to do instead."""


@contextmanager
def said_plainly() -> Iterator[None]:
    """Errors that the library raises on purpose have messages for users: pass those on without a traceback."""
    try:
        yield
    except CurvatureError as error:
        raise BadInput(str(error)) from error


def require_installed() -> None:
    """Refuse to begin what could not be finished: the data and the plot need packages of the extra ``demo``."""
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise BadInput(f"needs {' and '.join(missing)}, which {verb} not installed; run: pip install 'curvature[demo]'")
