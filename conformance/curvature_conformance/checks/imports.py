"""What is imported when nobody has asked for it: the plugins of all libraries are looked at in every program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

from curvature.registry import catalogue, plugins
from curvature.registry.records import BY_HAND

from ..checklist import CONTRACT, check
from ..failures import CheckFailure, expect
from ..setting import Setting

_HEAVY = ("cupy", "jax", "mlx", "sklearn", "tensorflow", "torch")

_PROGRAM = """
import sys
before = set(sys.modules)
{statement}
new = set(sys.modules) - before
print("\\nimported:", *sorted(name for name in {forbidden!r} if name in new))
"""


def require_light(what: str, plugin: str, statement: str, forbidden: Iterable[str]) -> None:
    """Raise if a fresh process that runs ``statement``, with no other plugin than ``plugin``, comes to hold a framework."""
    program = _PROGRAM.format(statement=statement, forbidden=sorted(set(forbidden)))
    others = ",".join(sorted({info.name for info in plugins()} - {plugin}))
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=os.environ | {"CURVATURE_DISABLE_PLUGINS": others},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )
    if done.returncode:
        raise CheckFailure(what, f"a fresh process ended with {done.stderr.strip().splitlines()[-1:]}", formula="no error")
    imported = done.stdout.rpartition("imported:")[2].strip()
    expect(
        not imported,
        what,
        f"{imported} imported",
        formula="no framework is imported before it is asked for: `import curvature` takes half a second",
        causes="an import at the head of the plugin's module; name what is heavy by a loader, 'module:attribute'",
    )


def _registered_backend(setting: Setting) -> bool:
    known = catalogue.backends()
    name = setting.backend.name
    return not setting.bound and name in known.names and known.claims(name)[0].plugin.distribution != BY_HAND


@check("backend", "claims", applies=_registered_backend, source=CONTRACT)
def registering_imports_no_framework(setting: Setting) -> None:
    """A program that only looks at which backends there are does not import this backend's framework."""
    entry = catalogue.backends().find(setting.backend.name)
    forbidden = {*_HEAVY, *(name for name in entry.spec.requires if name != "numpy")}
    require_light(
        f"looking at which backends there are, {setting.backend.name!r} alone",
        entry.plugin.name,
        "import curvature\nfrom curvature.registry import catalogue\ncatalogue.backends().names",
        forbidden,
    )


def _registered_method(setting: Setting) -> bool:
    known = catalogue.approximations()
    return setting.label in known.names and known.claims(setting.label)[0].plugin.distribution != BY_HAND


@check("method", "method", applies=_registered_method, source=CONTRACT)
def loading_imports_no_framework(setting: Setting) -> None:
    """A program that loads the approximation, and no array of a framework, does not import one."""
    require_light(
        f"curvature.approximation({setting.label!r})",
        catalogue.approximations().find(setting.label).plugin.name,
        f"import curvature\ncurvature.approximation({setting.label!r})",
        _HEAVY,
    )
