"""Import what a spec names: "module:attribute"."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from ..errors import PluginLoadError
from .records import Plugin, describe


def installed(module: str) -> bool:
    """Whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing; a module that stands in without a spec
        return False


def load(reference: str, plugin: Plugin, what: str) -> Any:
    """The object that "module:attribute", or the module that "module", names.

    Raises:
        PluginLoadError: naming ``what`` was wanted, the distribution, its version and the cause.
    """
    module, _, attribute = reference.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for part in attribute.split(".") if attribute else ():
            value = getattr(value, part)
    except Exception as error:
        raise PluginLoadError(f"{what} of {plugin.origin} failed to load from {reference!r}: {describe(error)}") from error
    return value
