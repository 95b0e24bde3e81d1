"""The command ``curvature``. This module needs the standard library only, so that it can say what is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("rich", "typer")


def main() -> None:
    """Entry of the console script."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        sys.exit(
            f"curvature: the command line needs {' and '.join(missing)}, which {verb} not installed; "
            "run: pip install 'curvature[demo]', or 'curvature[conformance]' for the conformance suite alone"
        )
    from .app import app

    app()
