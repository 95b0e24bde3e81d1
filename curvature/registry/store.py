"""The registry itself: filled once, at first use, never at import."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import PluginConflictError, PluginLoadError, PluginWarning
from . import discovery
from .loading import new_manager, take_in
from .records import BY_HAND, Plugin, PluginInfo


class Registry:
    """Plugins and what they offer. ``generation`` grows whenever that changes, so that caches know their age."""

    def __init__(self) -> None:
        self.generation = 0
        self._lock = threading.RLock()
        self._filled = False
        self._filling = False
        self._manager = new_manager()
        self._plugins: dict[str, Plugin] = {}
        self._by_hand: dict[str, Plugin] = {}

    def plugins(self) -> list[Plugin]:
        """All plugins, those that failed or are disabled included."""
        self.fill()
        return [*self._plugins.values(), *self._by_hand.values()]

    def hook(self) -> Any:
        """pluggy's hook callers, for hooks that are called rather than collected."""
        self.fill()
        return self._manager.hook

    def register(self, target: Any, name: str) -> None:
        """Take in a plugin object that no entry point names; unlike discovery, a failure raises."""
        with self._lock:
            if name in self._by_hand:
                raise PluginConflictError(f"a plugin called {name!r} is registered already; unregister it first")
            plugin = Plugin(name, BY_HAND, target=target)
            try:
                take_in(self._manager, plugin)
            except Exception as error:
                plugin.error = error
                raise PluginLoadError(plugin.failure) from error
            self._by_hand[name] = plugin
            self.generation += 1

    def unregister(self, name: str) -> None:
        """Take out a plugin that was registered by hand."""
        with self._lock:
            if name not in self._by_hand:
                raise LookupError(f"no plugin called {name!r} was registered by hand")
            self._manager.unregister(name=self._by_hand.pop(name).key)
            self.generation += 1

    def rediscover(self) -> None:
        """Look for installed plugins again at the next use; those registered by hand stay."""
        with self._lock:
            for plugin in self._plugins.values():
                if self._manager.has_plugin(plugin.key):
                    self._manager.unregister(name=plugin.key)
            self._plugins.clear()
            self._filled = False
            self.generation += 1

    def fill(self) -> None:
        """Discover plugins unless that is done."""
        if self._filled:
            return
        with self._lock:
            if self._filled or self._filling:  # by another thread; or a plugin asks while it is being loaded
                return
            self._filling = True
            try:
                for plugin, point in discovery.find():
                    self._plugins[plugin.key] = plugin
                    if not plugin.disabled:
                        self._load(plugin, point.load)
                self._filled = True
                self.generation += 1
            except BaseException:  # strict mode, or Ctrl-C: the next use starts anew
                self.rediscover()
                raise
            finally:
                self._filling = False

    def _load(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        try:
            plugin.target = load()
            take_in(self._manager, plugin)
        except (Exception, SystemExit) as error:
            plugin.error = error
            if discovery.strict():
                raise PluginLoadError(plugin.failure) from error
            warnings.warn(f"{plugin.failure}; it is left out", PluginWarning, stacklevel=2)


active = Registry()
"""The registry of this process."""


def plugins() -> list[PluginInfo]:
    """Every plugin that was found, those that failed to load or are disabled included."""
    return [plugin.info() for plugin in active.plugins()]


def register(plugin: Any, *, name: str | None = None) -> str:
    """Register a plugin object (a module, or any object with ``@hookimpl`` functions) by hand.

    For tests and notebooks; a package says it with an entry point instead.

    Returns:
        The name under which it can be unregistered.

    Raises:
        PluginLoadError: a hook of the plugin raised or returned something else than specs.
        PluginConflictError: a plugin of that name is registered by hand already.
    """
    chosen = name or getattr(plugin, "__name__", None) or type(plugin).__name__
    active.register(plugin, chosen)
    return chosen


def unregister(name: str) -> None:
    """Take out what ``register`` took in."""
    active.unregister(name)


def rediscover() -> None:
    """Look for installed plugins again, for example after ``pip install`` in a running notebook."""
    active.rediscover()


def hooks() -> Any:
    """pluggy's hook callers: ``hooks().curvature_adapt_model(model=net)``."""
    return active.hook()
