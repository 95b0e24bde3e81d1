"""Claims are checked both ways, for every capability: what is claimed must work, what is not must refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.backend import CAPABILITIES
from curvature_conformance import all_checks, check, issues, run

Numpy = type(cv.backend("numpy"))

MEMBERS = {
    "vjp": ("vjp", "value_and_gradient"),
    "jvp": ("jvp",),
    "linearize": ("linearize", "jvp_and_pull"),
    "hvp": ("hvp",),
    "vmap": ("vmap",),
    "jit": ("jit",),
    "parameter_uses": ("parameter_uses",),
}
"""The members of a backend that a capability is about."""

REASON = cv.Claim(cv.Support.NOT_IMPLEMENTED, "not written yet")


def refuse(self: Any, *args: Any, **options: Any) -> Any:
    raise cv.UnsupportedError("not here")


def single(self: Any, x: Any, dtype: Any = None, device: Any = None) -> Any:
    """``asarray`` of a library without float64."""
    double = np.asarray(x).dtype == np.float64 if dtype is None else dtype in ("float64", np.float64)
    if double and dtype is not None:
        raise cv.PrecisionError("there is no float64 here; use float32")
    return Numpy.asarray(self, x, "float32" if double else dtype, device)


def backend(capability: str, *, claimed: bool, there: bool) -> cv.Backend:
    """NumPy with or without a capability, and with or without the claim to it."""
    members: dict[str, Any] = {} if claimed else {"capabilities": dict(Numpy.capabilities) | {capability: REASON}}
    if not there:
        replaced = {"asarray": single} if capability == "float64" else dict.fromkeys(MEMBERS[capability], refuse)
        members |= replaced
    return type("Claiming", (Numpy,), members)()


def checks_of(capability: str) -> set[str]:
    return {check.name for check in all_checks() if capability in check.needs}


def test_every_capability_has_a_check_of_a_backend_alone() -> None:
    covered = {name for check in all_checks("backend") for name in check.needs}
    assert covered == set(CAPABILITIES)
    assert {*MEMBERS, "arrays", "float64"} == set(CAPABILITIES)


def test_a_check_that_needs_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no capability of a backend is called third_derivatives"):
        check("backend", "derivatives", capability="third_derivatives", source="a book")(lambda setting: None)


@pytest.mark.parametrize("capability", MEMBERS)
def test_what_is_honestly_missing_conforms(capability: str) -> None:
    """On the backend alone, and on models of both kinds of parameters."""
    honest = backend(capability, claimed=False, there=False)
    report = run(honest, only_scenarios="")
    assert report.issues == []
    assert checks_of(capability) & {outcome.check for outcome in report.outcomes}
    assert issues(honest, only_scenarios="deep-linear*") == []


def test_single_precision_only_conforms() -> None:
    honest = backend("float64", claimed=False, there=False)
    report = run(honest, only_checks="[ac]*/*")
    assert report.dtype == "float32"
    assert report.issues == []


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_stale_no_is_caught(capability: str) -> None:
    stale = backend(capability, claimed=False, there=True)
    found = [outcome for outcome in run(stale, only_scenarios="", dtype="float64").failures if "stale claim" in outcome.message]
    assert {outcome.check for outcome in found} <= checks_of(capability)
    assert found
    assert all(repr(capability) in outcome.message for outcome in found)


@pytest.mark.parametrize("capability", MEMBERS)
def test_a_claim_that_is_not_kept_is_caught(capability: str) -> None:
    failures = run(backend(capability, claimed=True, there=False), only_scenarios="").failures
    assert checks_of(capability) & {outcome.check for outcome in failures}
    assert any("claims to have" in outcome.message and repr(capability) in outcome.message for outcome in failures)


def test_a_claim_to_float64_that_is_not_kept_is_caught() -> None:
    failures = run(backend("float64", claimed=True, there=False), only_checks="arrays/*", dtype="float32").failures
    assert "arrays/double-precision" in {outcome.check for outcome in failures}


@pytest.mark.parametrize("capability", MEMBERS)
def test_a_refusal_by_another_error_is_caught(capability: str) -> None:
    def precision(self: Any, *args: Any, **options: Any) -> Any:
        raise cv.PrecisionError("this is about something else")

    members = dict.fromkeys(MEMBERS[capability], precision)
    wrong = type("Wrong", (Numpy,), members | {"capabilities": dict(Numpy.capabilities) | {capability: REASON}})()
    messages = issues(wrong, only_scenarios="")
    assert messages
    assert all("UnsupportedError was expected; it raised PrecisionError" in message for message in messages)
