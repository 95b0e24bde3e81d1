"""Version of the plugin interface, and which versions get on with it."""

from __future__ import annotations

from typing import TypeAlias

Version: TypeAlias = tuple[int, int]

API: Version = (1, 0)
"""Version (major, minor) of the hooks and specs of this library."""


def compatible(api: Version) -> bool:
    """Whether a plugin written for ``api`` works here: the same major version, and no newer minor one."""
    major, minor = api
    return major == API[0] and minor <= API[1]


def text(api: Version) -> str:
    """``(1, 0)`` as ``1.0``."""
    return ".".join(str(part) for part in api)
