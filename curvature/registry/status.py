"""Every registered backend and how it stands here, without ever raising."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata

from ..errors import BackendUnavailableError, CurvatureError, IncompatiblePluginError, PluginConflictError
from . import catalogue, resolution
from .catalogue import Catalogue, Entry
from .records import describe
from .specs import ApproximationSpec, BackendSpec


@dataclass(frozen=True)
class BackendInfo:
    """How one backend stands here.

    Attributes:
        name: the name to ask for.
        status: "usable", "not installed", "not usable", "broken", "incompatible" or "conflict".
        reason: why it is not usable, with the remedy; "" where it is.
        version: version of the framework, "" where unknown.
        devices: devices that could be used, as text.
        distribution: the distributions that registered the name (one, unless they are in conflict).
    """

    name: str
    status: str
    reason: str = ""
    version: str = ""
    devices: tuple[str, ...] = ()
    distribution: str = ""


def backends() -> list[BackendInfo]:
    """Every registered backend. Imports the frameworks that are installed, to ask them for version and devices."""
    known = catalogue.backends()
    return [_info(known, name) for name in known.names]


def _info(known: Catalogue[BackendSpec], name: str) -> BackendInfo:
    distribution = owners(known, name)
    try:
        entry = known.find(name)
        found = resolution.loaded(known, entry)(device=None, dtype=None)
        devices = tuple(str(device) for device in found.devices())
    except Exception as error:
        return BackendInfo(name, _status(known, name, error), reason(error), distribution=distribution)
    return BackendInfo(name, "usable", "", _version(entry), devices, distribution)


def owners(known: Catalogue[BackendSpec] | Catalogue[ApproximationSpec], name: str) -> str:
    """The distributions that registered ``name``."""
    return ", ".join(entry.plugin.distribution for entry in known.claims(name))


def reason(error: Exception) -> str:
    """The message of an error of ours; the type as well of any other."""
    return str(error) if isinstance(error, CurvatureError) else describe(error)


def fault(error: Exception) -> str:
    """The status that an error of the plugin means."""
    if isinstance(error, PluginConflictError):
        return "conflict"
    return "incompatible" if isinstance(error, IncompatiblePluginError) else "broken"


def _status(known: Catalogue[BackendSpec], name: str, error: Exception) -> str:
    if isinstance(error, BackendUnavailableError):
        return "not installed" if resolution.missing(known.claims(name)[0].spec) else "not usable"
    return fault(error)


def _version(entry: Entry[BackendSpec]) -> str:
    for module in entry.spec.requires[:1]:
        version = getattr(sys.modules.get(module), "__version__", None)
        if version is not None:
            return str(version)
        try:
            return metadata.version(module)
        except metadata.PackageNotFoundError:
            return ""
    return ""
