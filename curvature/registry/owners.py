"""Which backend an array belongs to, found by its type and device and remembered."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import array_api_compat

from ..autodiff.traced import Traced
from ..errors import MixedBackendError, PluginConflictError, PluginWarning
from . import api, catalogue
from .catalogue import Catalogue, Entry
from .records import describe
from .resolution import loaded
from .specs import BackendSpec

if TYPE_CHECKING:
    from ..backend.base import Backend


@dataclass(frozen=True)
class _Owner:
    """What makes the backends of one type of arrays: a registered backend, or the bare namespace of the arrays."""

    name: str
    registered: bool
    make: Callable[..., Backend]


class _Memory:
    """Answers of one generation of the registry: owners by type, backends by owner and device."""

    def __init__(self, known: Catalogue[BackendSpec]) -> None:
        self.known = known
        self.owners: dict[type, _Owner] = {}
        self.backends: dict[tuple[str, bool, str], Backend] = {}


_memory: _Memory | None = None


def backend_of(*arrays: Any) -> Backend:
    """The backend to which the arrays belong, on their device, with ``dtype`` None.

    An array of no registered library that follows the Array API standard gets an ``ArrayBackend`` of its namespace;
    a traced array gets the backend of the array that it stands for.

    Raises:
        MixedBackendError: arrays of two libraries or of two devices, something that is no array, or nothing at all.
        BackendUnavailableError, PluginLoadError, IncompatiblePluginError, PluginConflictError: as ``backend`` does.
    """
    if not arrays:
        raise MixedBackendError("no array was given, so there is no backend to find")
    found = _backend(arrays[0])
    for array in arrays[1:]:
        other = _backend(array)
        if other is not found:
            found = _agreed(found, other)
    return found


def _backend(array: Any) -> Backend:
    global _memory
    known = catalogue.backends()
    memory = _memory
    if memory is None or memory.known is not known:
        _memory = memory = _Memory(known)
    while type(array) is Traced:
        array = array._value
    owner = memory.owners.get(type(array))
    if owner is None:
        owner = memory.owners[type(array)] = _owner(known, array)
    device = array_api_compat.device(array)
    key = (owner.name, owner.registered, str(device))
    if key not in memory.backends:
        memory.backends[key] = owner.make(device=device, dtype=None)
    return memory.backends[key]


def _owner(known: Catalogue[BackendSpec], array: Any) -> _Owner:
    """The one registered backend whose predicate says yes, the errors of its registration included."""
    owners = [entry for name in known.names for entry in known.claims(name) if _owns(entry, array)]
    able = [entry for entry in owners if api.compatible(entry.spec.api)] or owners
    names = {entry.spec.name for entry in able}
    if len(names) > 1:
        claims = " and ".join(f"backend {entry.spec.name!r} of {entry.plugin.origin}" for entry in able)
        raise PluginConflictError(
            f"arrays of type {type(array).__name__} are claimed by {claims}; uninstall one of them, "
            "or name one in the environment variable CURVATURE_DISABLE_PLUGINS"
        )
    if names:
        entry = known.find(names.pop())
        return _Owner(entry.spec.name, True, loaded(known, entry))
    if array_api_compat.is_array_api_obj(array):
        return _bare(array_api_compat.array_namespace(array))
    raise MixedBackendError(
        f"{_short(array)} is no array of any registered backend ({', '.join(known.names)}); "
        "make one with cv.backend(name).asarray(...)"
    )


def _bare(namespace: Any) -> _Owner:
    from ..backend import ArrayBackend  # the registry is imported before it

    name = namespace.__name__.removeprefix("array_api_compat.")
    return _Owner(name, False, partial(ArrayBackend, name, namespace))


def _owns(entry: Entry[BackendSpec], array: Any) -> bool:
    if entry.spec.owns is None:
        return False
    try:
        return bool(entry.spec.owns(array))
    except Exception as error:  # a fault in one plugin must not take the arrays of all others with it
        message = f"backend {entry.spec.name!r} of {entry.plugin.origin} failed to say whether it owns an array"
        warnings.warn(f"{message}: {describe(error)}", PluginWarning, stacklevel=2)
        return False


def _agreed(one: Backend, other: Backend) -> Backend:
    """The backend of two that differ by no more than one device that is not known (under jit it is not)."""
    if one.name == other.name and (one.device is None or other.device is None):
        return other if one.device is None else one
    remedy = "be.asarray(array)" if one.name == other.name else "be.asarray(other.to_numpy(array))"
    raise MixedBackendError(
        f"arrays of {_place(one)} and of {_place(other)} met in one call; "
        f"bring them together first: be = cv.backend(name, device=...), then {remedy}"
    )


def _place(backend: Backend) -> str:
    return f"backend {backend.name!r}" + ("" if backend.device is None else f" on device {str(backend.device)!r}")


def _short(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
