"""Plugins: entry points find them, pluggy registers them, names and arrays choose among them."""

from .api import API
from .extensions import check_needs, load_extension
from .methods import ApproximationInfo, approximation, approximations
from .owners import backend_of
from .records import PluginInfo
from .resolution import backend
from .specs import ApproximationSpec, BackendSpec
from .status import BackendInfo, backends
from .store import hooks, plugins, rediscover, register, unregister

__all__ = [
    "API",
    "ApproximationInfo",
    "ApproximationSpec",
    "BackendInfo",
    "BackendSpec",
    "PluginInfo",
    "approximation",
    "approximations",
    "backend",
    "backend_of",
    "backends",
    "check_needs",
    "hooks",
    "load_extension",
    "plugins",
    "rediscover",
    "register",
    "unregister",
]
