"""Where an approximation meets a backend: check that they suit each other, and import what they have together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from . import catalogue
from .catalogue import Catalogue, Entry
from .references import load
from .specs import ApproximationSpec

if TYPE_CHECKING:
    from ..backend.capabilities import Claim

_met: tuple[Catalogue[ApproximationSpec] | None, set[tuple[Any, str]]] = (None, set())


def load_extension(method: Any, backend_name: str) -> None:
    """Import the module that the approximation has for this backend, the first time that the two meet.

    Args:
        method: a name, a method or its class. A method that nobody registered has no extensions.
        backend_name: name of the backend.

    Raises:
        PluginLoadError: the extension raised while it was imported.
    """
    global _met
    known = catalogue.approximations()
    if _met[0] is not known:
        _met = (known, set())
    pair = (method if isinstance(method, str | type) else type(method), backend_name)
    if pair in _met[1]:
        return
    entry = entry_of(known, pair[0])
    module = None if entry is None else entry.spec.extensions.get(backend_name)
    if entry is not None and module is not None:
        load(module, entry.plugin, f"the extension of approximation {entry.spec.name!r} for backend {backend_name!r}")
    _met[1].add(pair)


def check_needs(method: Any, backend_name: str, capabilities: Mapping[str, Claim]) -> None:
    """Raise UnsupportedError if the backend's claims lack what the approximation needs; no claim at all is no lack."""
    entry = entry_of(catalogue.approximations(), method if isinstance(method, str | type) else type(method))
    for need in () if entry is None else entry.spec.needs:
        claim = capabilities.get(need)
        if claim is not None and not claim.supported:
            assert entry is not None
            raise UnsupportedError(
                f"approximation {entry.spec.name!r} needs {need!r}, which backend {backend_name!r} lacks "
                f"({claim.support.value}: {claim.reason}); use another backend, or an approximation that "
                "does not need it"
            )


def entry_of(known: Catalogue[ApproximationSpec], method: str | type) -> Entry[ApproximationSpec] | None:
    """The entry of a name, or of a class (or one that it inherits from); None for a class that nobody registered."""
    if isinstance(method, str):
        return known.find(method)
    for base in method.__mro__:
        for name in known.names:
            if any(_names(entry.spec.loader, base) for entry in known.claims(name)):
                return known.find(name)
    return None


def _names(loader: str, method: type) -> bool:
    """Whether the loader names this very class: then its module has been imported, so nothing need be imported."""
    module, _, attribute = loader.partition(":")
    return getattr(sys.modules.get(module), attribute, None) is method
