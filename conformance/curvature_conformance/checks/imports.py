"""What is imported when nobody has asked for it: the plugins of all libraries are looked at in every program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

from curvature.registry import catalogue
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
print(*sorted(name for name in {forbidden!r} if name in new))
"""


def require_light(what: str, statement: str, forbidden: Iterable[str]) -> None:
    """Raise if a fresh process that runs ``statement`` comes to hold a framework."""
    program = _PROGRAM.format(statement=statement, forbidden=sorted(set(forbidden)))
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise CheckFailure(what, f"a fresh process ended with {done.stderr.strip().splitlines()[-1:]}", formula="no error")
    expect(
        not done.stdout.strip(),
        what,
        f"{done.stdout.strip()} imported",
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
    requires = catalogue.backends().find(setting.backend.name).spec.requires
    forbidden = {*_HEAVY, *(name for name in requires if name != "numpy")}
    require_light(
        f"looking at the plugins, {setting.backend.name!r} among them",
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
        f"import curvature\ncurvature.approximation({setting.label!r})",
        _HEAVY,
    )
