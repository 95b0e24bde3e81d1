"""Claims about capabilities, and what a backend must leave alone."""

from __future__ import annotations

import os
import warnings

import numpy as np

import curvature as cv
from curvature.backend import CAPABILITIES

from ..checklist import CONTRACT, check
from ..failures import expect
from ..setting import Setting
from .derivatives import at, phi_on


@check("backend", "claims", source=CONTRACT)
def every_capability_has_a_claim(setting: Setting) -> None:
    """The backend says of every capability whether it has it, and gives a reason where it has not."""
    claims = setting.backend.capabilities
    for name in CAPABILITIES:
        expect(
            isinstance(claims.get(name), cv.Claim),
            f"capabilities[{name!r}]",
            repr(claims.get(name)),
            formula="a curvature.Claim",
            causes="a capability that is forgotten: unknown counts as failure",
        )
    unknown = sorted(set(claims) - set(CAPABILITIES))
    expect(not unknown, "capabilities", f"claims about {unknown}", formula=f"claims about {', '.join(CAPABILITIES)} only")


@check("backend", "claims", source=CONTRACT)
def global_state_stays_as_it_is(setting: Setting) -> None:
    """Using the backend changes no default dtype, random state, floating-point error handling, warning filter or environment."""
    before = _state(setting)
    _use(setting)
    # A library that is imported bit by bit may add a filter of its own at the first use, but not at each.
    once = _state(setting)
    _use(setting)
    after = _state(setting)
    for name, value in before.items():
        expected = once[name] if name == _FILTERS else value
        expect(
            after[name] == expected,
            f"{name} after using the backend",
            str(after[name])[:80],
            formula=str(expected)[:80],
            causes="a flag set at import or in a function: the user's program changes behind his back",
        )


_FILTERS = "the number of warning filters"


def _use(setting: Setting) -> None:
    be = setting.backend
    be.rng(0).normal((3,), dtype=setting.dtype)
    matrix = setting.asarray(np.eye(3))
    be.cholesky(-matrix)
    be.eigh(matrix)
    be.solve_triangular(matrix, matrix)
    if be.capabilities["hvp"].supported:
        be.hvp(phi_on(setting), at(setting, np.zeros(3)), at(setting, np.ones(3)))


def _state(setting: Setting) -> dict[str, object]:
    xp = setting.xp
    return {
        "the default floating dtype of xp.asarray(1.5)": str(xp.asarray(1.5).dtype),
        "the dtype of xp.zeros(1)": str(xp.zeros(1).dtype),
        "the default device": str(getattr(xp.zeros(1), "device", None)),
        "numpy.random's global state": hash(repr(np.random.get_state())),  # noqa: NPY002
        "numpy.geterr()": tuple(sorted(np.geterr().items())),
        _FILTERS: len(warnings.filters),
        "os.environ": hash(frozenset(os.environ.items())),
    }
