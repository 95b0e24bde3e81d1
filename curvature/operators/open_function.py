"""Open generic functions: anybody adds methods, the types of the arguments choose (plum)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from plum import Dispatcher

_dispatcher = Dispatcher()


class OpenFunction(Protocol):
    """What a type checker knows of a plum function."""

    def __call__(self, *args: Any) -> Any:
        """Call the method that the types of the arguments choose."""
        ...

    def dispatch(self, method: Callable[..., Any]) -> Any:
        """Add a method; a decorator."""
        ...


def open_function(fallback: Callable[..., Any]) -> OpenFunction:
    """The generic function whose most general method is ``fallback``; ``function.dispatch`` adds methods.

    Dispatch is on our own types only, never on array types: under ``jax.jit`` those are not what they seem.
    """
    return cast(OpenFunction, _dispatcher(fallback))
