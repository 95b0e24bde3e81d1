"""What is known of one plugin: where it came from, whether it loaded, and what it offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .names import fold
from .specs import Spec

BY_HAND = "registered by hand"
"""Stands for the distribution of a plugin that came through ``register`` and not through an entry point."""


@dataclass(frozen=True)
class PluginInfo:
    """One plugin.

    Attributes:
        name: name of its entry point.
        distribution: the distribution that holds it.
        version: version of that distribution, "" where there is none.
        status: "loaded", "disabled" (by CURVATURE_DISABLE_PLUGINS) or "broken".
        reason: why it is not loaded.
        provides: names of the backends and approximations that it registered.
    """

    name: str
    distribution: str
    version: str
    status: str
    reason: str
    provides: tuple[str, ...]


@dataclass
class Plugin:
    """A plugin on its way through discovery."""

    name: str
    distribution: str
    version: str = ""
    target: Any = None
    disabled: bool = False
    error: BaseException | None = None
    specs: list[Spec] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The name under which pluggy knows it: unique where distributions are."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> str:
        """Distribution and version as messages name them."""
        if self.distribution == BY_HAND:
            return f"plugin {self.name!r} ({BY_HAND})"
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def cause(self) -> str:
        """Type and message of what went wrong."""
        return "" if self.error is None else describe(self.error)

    @property
    def failure(self) -> str:
        """That it failed to load: which one, of which distribution and version, and why."""
        which = self.origin if self.distribution == BY_HAND else f"plugin {self.name!r} of {self.origin}"
        return f"{which} failed to load: {self.cause}"

    def goes_by(self, name: str) -> bool:
        """Whether ``name`` may have meant something of this plugin: its own name, or one that it had registered."""
        return fold(name) in {fold(self.name), *(fold(spec.name) for spec in self.specs)}

    def info(self) -> PluginInfo:
        """What users see."""
        status, reason = "loaded", ""
        if self.disabled:
            status, reason = "disabled", "CURVATURE_DISABLE_PLUGINS names it"
        elif self.error is not None:
            status, reason = "broken", self.cause
        names = tuple(spec.name for spec in self.specs)
        return PluginInfo(self.name, self.distribution, self.version, status, reason, names)


def describe(error: BaseException) -> str:
    """``ValueError: message`` on one line."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
