"""A backend by name: registered, importable, usable, and only then loaded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from ..errors import BackendUnavailableError
from . import catalogue
from .catalogue import Catalogue, Entry
from .records import BY_HAND, describe
from .references import installed, load
from .specs import BackendSpec

if TYPE_CHECKING:
    from ..backend.base import Backend

_lock = threading.Lock()


def backend(name: str, *, device: Any = None, dtype: str | None = None) -> Backend:
    """The backend called ``name``.

    Args:
        name: one of ``backends()``.
        device: where it puts arrays; None is the library's default.
        dtype: name of the floating dtype that it gives to floating values, or None to keep theirs.

    Raises:
        UnknownBackendError: nobody registered the name; the message lists those that are.
        BackendUnavailableError: its framework is not installed, or cannot be used here.
        PluginLoadError, IncompatiblePluginError, PluginConflictError: its plugin is at fault.
    """
    known = catalogue.backends()
    return cast("Backend", loaded(known, known.find(name))(device=device, dtype=dtype))


def loaded(known: Catalogue[BackendSpec], entry: Entry[BackendSpec]) -> Any:
    """What the entry's loader names, after the checks that come first."""
    name = entry.spec.name
    if name not in known.loaded:
        with _lock:
            require_installed(entry)
            require_usable(entry)
            known.loaded[name] = load(entry.spec.loader, entry.plugin, f"backend {name!r}")
    return known.loaded[name]


def missing(spec: BackendSpec) -> list[str]:
    """Modules that the backend requires and that are not installed."""
    return [module for module in spec.requires if not installed(module)]


def require_installed(entry: Entry[BackendSpec]) -> None:
    """Raise BackendUnavailableError, with the command that mends it, if a requirement is missing."""
    absent = missing(entry.spec)
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        raise BackendUnavailableError(
            f"backend {entry.spec.name!r} needs {' and '.join(absent)}, which {verb} not installed; "
            f"run: {_command(entry, absent)}"
        )


def require_usable(entry: Entry[BackendSpec]) -> None:
    """Raise BackendUnavailableError if the spec's probe finds a reason."""
    reason = unusable(entry)
    if reason:
        raise BackendUnavailableError(f"backend {entry.spec.name!r} cannot be used here: {reason}")


def unusable(entry: Entry[BackendSpec]) -> str | None:
    """The reason why an installed backend cannot be used here, or None."""
    if entry.spec.probe is None:
        return None
    probe = load(entry.spec.probe, entry.plugin, f"the probe of backend {entry.spec.name!r}")
    try:
        reason = probe()
    except Exception as error:
        return describe(error)
    return None if reason is None else str(reason)


def _command(entry: Entry[BackendSpec], absent: list[str]) -> str:
    if entry.spec.extra is None or entry.plugin.distribution == BY_HAND:
        return f"pip install {' '.join(absent)}"
    return f"pip install '{entry.plugin.distribution}[{entry.spec.extra}]'"
