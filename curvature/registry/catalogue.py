"""From a name to the one spec that claims it, or the error that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import (
    CurvatureError,
    IncompatiblePluginError,
    PluginConflictError,
    PluginLoadError,
    UnknownApproximationError,
    UnknownBackendError,
)
from . import api, store
from .names import did_you_mean
from .records import Plugin
from .specs import ApproximationSpec, BackendSpec

S = TypeVar("S", BackendSpec, ApproximationSpec)


@dataclass(frozen=True)
class Entry(Generic[S]):
    """A spec and the plugin that it came from."""

    spec: S
    plugin: Plugin


class Catalogue(Generic[S]):
    """The specs of one kind, of one generation of the registry."""

    def __init__(self, registry: store.Registry, kind: type[S], noun: str, unknown: type[CurvatureError]) -> None:
        self._registry = registry
        self._noun = noun
        self._unknown = unknown
        registry.fill()
        self._generation = registry.generation  # read before the plugins: too old only means made anew
        self._plugins: list[Plugin] = registry.plugins()
        self._claims: dict[str, list[Entry[S]]] = {}
        self.loaded: dict[str, Any] = {}  # what the loaders gave, by name
        for plugin in self._plugins:
            if plugin.error is None:
                for spec in plugin.specs:
                    if isinstance(spec, kind):
                        self._claims.setdefault(spec.name, []).append(Entry(spec, plugin))

    @property
    def current(self) -> bool:
        """Whether the registry is still what this catalogue was made from."""
        return self._registry is store.active and self._generation == store.active.generation

    @property
    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._claims)

    def claims(self, name: str) -> list[Entry[S]]:
        """Everyone who registered ``name``."""
        return self._claims[name]

    def find(self, name: str) -> Entry[S]:
        """The one entry called ``name``.

        Raises:
            UnknownBackendError, UnknownApproximationError: nobody registered it.
            PluginLoadError: a plugin of that name failed to load.
            PluginConflictError: two plugins registered it.
            IncompatiblePluginError: it was written for another version of the plugin interface.
        """
        claims = self._claims.get(name) if isinstance(name, str) else None
        if not claims:
            raise self._missing(name)
        if len(claims) > 1:
            owners = " and ".join(_owner(entry.plugin) for entry in claims)
            raise PluginConflictError(
                f"{self._noun} {name!r} is claimed by {owners}; uninstall one of them, "
                "or name one in the environment variable CURVATURE_DISABLE_PLUGINS"
            )
        entry = claims[0]
        if not api.compatible(entry.spec.api):
            raise IncompatiblePluginError(
                f"{self._noun} {name!r} of {entry.plugin.origin} was written for version {api.text(entry.spec.api)} of "
                f"the plugin interface, this curvature has {api.text(api.API)}; install versions that go together"
            )
        return entry

    def _missing(self, name: object) -> CurvatureError:
        if not isinstance(name, str):
            return self._unknown(f"the name of {self._noun} must be a string, got {name!r}")
        broken = [candidate for candidate in self._plugins if candidate.error is not None]
        for suspect in broken:
            if suspect.goes_by(name):
                failure = PluginLoadError(f"{self._noun} {name!r}: {suspect.failure}")
                failure.__cause__ = suspect.error
                return failure
        message = f"no {self._noun} is called {name!r}{did_you_mean(name, self.names)}"
        message += f" (registered: {', '.join(self.names) or 'none'})"
        for suspect in broken:
            message += f"; {suspect.failure}"
        for plugin in self._plugins:
            if plugin.disabled and plugin.goes_by(name):
                message += f"; plugin {plugin.key!r} is disabled by CURVATURE_DISABLE_PLUGINS"
        return self._unknown(message)


def _owner(plugin: Plugin) -> str:
    return f"{plugin.origin} (plugin {plugin.key!r})"


_backends: Catalogue[BackendSpec] | None = None
_approximations: Catalogue[ApproximationSpec] | None = None


def backends() -> Catalogue[BackendSpec]:
    """The catalogue of backends, made anew whenever the registry has changed."""
    global _backends
    current = _backends
    if current is None or not current.current:
        _backends = current = Catalogue(store.active, BackendSpec, "backend", UnknownBackendError)
    return current


def approximations() -> Catalogue[ApproximationSpec]:
    """The catalogue of approximations, made anew whenever the registry has changed."""
    global _approximations
    current = _approximations
    if current is None or not current.current:
        _approximations = current = Catalogue(store.active, ApproximationSpec, "approximation", UnknownApproximationError)
    return current
