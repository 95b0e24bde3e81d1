"""Entry points find plugins; two environment variables say which to leave out and whether to forgive failures.

We iterate the entry points ourselves: pluggy's own loader silently drops a second plugin of one name and lets the
exception of one broken plugin end the program.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points

from ..hookspecs import PROJECT
from .records import Plugin

STRICT = "CURVATURE_STRICT_PLUGINS"
DISABLE = "CURVATURE_DISABLE_PLUGINS"


def strict() -> bool:
    """Whether a plugin that fails to load is an error rather than a warning."""
    return os.environ.get(STRICT, "").strip().lower() not in ("", "0", "false", "no")


def disabled() -> frozenset[str]:
    """Names, or "distribution:name", of the plugins to leave out."""
    names = os.environ.get(DISABLE, "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def find() -> list[tuple[Plugin, EntryPoint]]:
    """The plugins of all installed distributions, none of them imported, in an order that depends on names only."""
    blocked = disabled()
    found: dict[str, tuple[Plugin, EntryPoint]] = {}
    for point in entry_points(group=PROJECT):
        distribution = point.dist.name if point.dist is not None else "unknown distribution"
        version = point.dist.version if point.dist is not None else ""
        plugin = Plugin(point.name, distribution, version)
        plugin.disabled = bool(blocked & {plugin.name, plugin.key})
        found.setdefault(plugin.key, (plugin, point))
    return [found[key] for key in sorted(found)]
