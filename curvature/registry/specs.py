"""What a plugin says about a backend or an approximation before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from .api import API, Version

if TYPE_CHECKING:
    from ..backend.capabilities import Claim


@dataclass(frozen=True)
class BackendSpec:
    """A backend, by name.

    Attributes:
        name: the name under which users ask for it.
        loader: "module:attribute" of its class (or a function), called with ``device=`` and ``dtype=``.
        requires: importable names of the modules that it needs, the framework itself first.
        extra: the extra of the plugin's distribution that installs them.
        owns: whether a value is an array of this library. It must import no framework (array_api_compat's predicates
            do not) and may look at nothing but the value's type: answers are remembered by type.
        probe: "module:function", called without arguments once the requirements are installed; None means that the
            backend can be used here, a string is the reason why it cannot ("no CUDA device").
        capabilities: claims, by the names of ``curvature.backend.CAPABILITIES``.
        api: version of the plugin interface that the plugin was written for.
    """

    name: str
    loader: str
    _: KW_ONLY
    requires: tuple[str, ...] = ()
    extra: str | None = None
    owns: Callable[[object], bool] | None = None
    probe: str | None = None
    capabilities: Mapping[str, Claim] = field(default_factory=dict, hash=False)
    api: Version = API

    def __post_init__(self) -> None:
        _check_name("backend", self.name)
        _check_reference(f"the loader of backend {self.name!r}", self.loader)
        if self.probe is not None:
            _check_reference(f"the probe of backend {self.name!r}", self.probe)
        _check_strings(f"requires of backend {self.name!r}", self.requires)
        _check_api(self.name, self.api)


@dataclass(frozen=True)
class ApproximationSpec:
    """An approximation, by name.

    Attributes:
        name: the name under which users ask for it.
        loader: "module:Class" of its method, a frozen dataclass whose fields are its options.
        needs: capabilities without which no backend can run it, by the names of ``curvature.backend.CAPABILITIES``.
        extensions: backend name → module that is imported the first time this approximation meets that backend.
        api: version of the plugin interface that the plugin was written for.
    """

    name: str
    loader: str
    _: KW_ONLY
    needs: tuple[str, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict, hash=False)
    api: Version = API

    def __post_init__(self) -> None:
        _check_name("approximation", self.name)
        _check_reference(f"the loader of approximation {self.name!r}", self.loader)
        _check_strings(f"needs of approximation {self.name!r}", self.needs)
        _check_api(self.name, self.api)


Spec: TypeAlias = BackendSpec | ApproximationSpec


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not name or name != name.strip():
        raise ValueError(f"the name of {kind} {name!r} must be a non-empty string without outer spaces")


def _check_reference(what: str, reference: object) -> None:
    if not isinstance(reference, str) or not all(reference.partition(":")):
        raise ValueError(f"{what} must have the form 'module:attribute', got {reference!r}")


def _check_strings(what: str, values: object) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{what} must be a tuple of strings, got {values!r}")


def _check_api(name: str, api: object) -> None:
    if not (isinstance(api, tuple) and len(api) == 2 and all(isinstance(part, int) for part in api)):
        raise ValueError(f"api of {name!r} must be a pair (major, minor), got {api!r}")
