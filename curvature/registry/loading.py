"""pluggy registers: take one plugin in, or leave it out whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from .. import hookspecs
from .api import API
from .records import Plugin
from .specs import ApproximationSpec, BackendSpec

_COLLECTED = {
    "curvature_register_backends": BackendSpec,
    "curvature_register_approximations": ApproximationSpec,
}


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows our hooks and no plugin."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def take_in(manager: pluggy.PluginManager, plugin: Plugin) -> None:
    """Register ``plugin.target`` and collect its specs; on any failure it is unregistered again.

    Raises:
        Exception: whatever the plugin raised.
    """
    manager.register(plugin.target, name=plugin.key)
    try:
        manager.check_pending()
        if not manager.get_hookcallers(plugin.target):
            raise TypeError(
                f"{plugin.target!r} implements no hook of curvature; "
                "is the decorator @curvature.hookimpl missing from its functions?"
            )
        for hook, kind in _COLLECTED.items():
            for spec in _collect(manager, plugin, hook, kind):
                if any(type(spec) is type(other) and spec.name == other.name for other in plugin.specs):
                    raise ValueError(f"{hook} returned two specs called {spec.name!r}")
                plugin.specs.append(spec)
    except BaseException:
        manager.unregister(name=plugin.key)
        raise


def _collect(manager: pluggy.PluginManager, plugin: Plugin, hook: str, kind: type) -> Iterable[Any]:
    """Specs that this plugin alone returns, so that a fault in it is charged to nobody else."""
    others = [other for other in manager.get_plugins() if other is not plugin.target]
    for answer in manager.subset_hook_caller(hook, remove_plugins=others)(api=API):
        for spec in [answer] if isinstance(answer, kind) else answer:
            if not isinstance(spec, kind):
                raise TypeError(f"{hook} returned {spec!r}, which is not a {kind.__name__}")
            yield spec
