"""What third parties add through hooks: scenarios, and gaps that are declared and strict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature_conformance import Exact, Expectation, all_checks, all_scenarios, issues, run

Offer = Callable[..., None]


@pytest.fixture
def offer() -> Iterator[Offer]:
    """Register conformance hooks for one test."""
    names: list[str] = []

    def register(scenarios: Any = (), expectations: Any = ()) -> None:
        class Plugin:
            @cv.hookimpl
            def curvature_conformance_scenarios(self) -> Any:
                return scenarios

            @cv.hookimpl
            def curvature_conformance_expectations(self, subject: str) -> Any:
                return expectations if subject == "diagonal" else []

        names.append(cv.register(Plugin(), name="declares"))

    yield register
    for name in names:
        cv.unregister(name)


def test_a_scenario_of_a_third_party_is_run(offer: Offer) -> None:
    known = all_scenarios()[0]
    wrong = replace(known, name="theirs/wrong", references=replace(known.references, losses=known.references.losses + 1.0))
    offer(scenarios=[replace(known, name="theirs/right"), wrong])
    report = run("numpy", only_checks="problem/*", only_scenarios="theirs/*")
    assert {outcome.scenario for outcome in report.outcomes} == {"theirs/right", "theirs/wrong"}
    assert {outcome.scenario for outcome in report.failures} == {"theirs/wrong"}


def test_a_theorem_of_a_third_party_is_checked(offer: Offer) -> None:
    theorem = Exact("diagonal", ("fisher",), "matrix", "a claim that is not so")
    offer(scenarios=[replace(all_scenarios()[0], name="theirs/claims", theorems=(theorem,))])
    (message,) = issues("diagonal", only_checks="theorems/exact-*", only_scenarios="theirs/*")
    assert "a claim that is not so" in message


def test_scenarios_need_names_of_their_own(offer: Offer) -> None:
    offer(scenarios=[all_scenarios()[0]])
    with pytest.raises(ValueError, match="several scenarios"):
        all_scenarios()


def test_something_else_than_a_scenario_is_refused(offer: Offer) -> None:
    offer(scenarios=["a scenario"])
    with pytest.raises(TypeError, match="not a Scenario"):
        all_scenarios()


GAP = Expectation("spectra/logdet", "deep-linear*", cv.Support.NOT_IMPLEMENTED, "determinants are not written yet")


def test_a_declared_gap_is_in_order_and_counted(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    from curvature.operators import Diagonal

    def missing(self: Any, damping: Any = 0.0) -> Any:
        raise cv.UnsupportedError("no determinant")

    monkeypatch.setattr(Diagonal, "logdet", missing)
    offer(expectations=[GAP])
    report = run("diagonal", only_checks="spectra/*", only_scenarios="deep-linear*")
    assert report.conforms
    assert {outcome.status for outcome in report.outcomes if outcome.check == "spectra/logdet"} == {"declared"}
    assert "1 declared gap" in report.summary


def test_a_stale_gap_fails(offer: Offer) -> None:
    offer(expectations=[GAP])
    (first, *_) = issues("diagonal", only_checks="spectra/logdet")
    assert "take the declaration away" in first


def test_a_gap_about_nothing_is_refused() -> None:
    gap = Expectation("spectra/logdte", reason="misspelt")
    with pytest.raises(ValueError, match="logdte"):
        issues("diagonal", expectations=[gap])


def test_a_gap_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Expectation("spectra/logdet")
    with pytest.raises(ValueError, match="declares a gap"):
        Expectation("spectra/logdet", support=cv.Support.NATIVE, reason="it is there")


def test_every_check_says_what_it_shows() -> None:
    for check in all_checks():
        assert check.summary.endswith("."), check.name
        assert check.name.count("/") == 1


def test_scenarios_are_data_that_no_one_has_written_to() -> None:
    for scenario in all_scenarios():
        references = scenario.references
        assert references.fisher.shape[0] <= 150
        assert scenario.size <= 8
        assert np.isfinite(references.hessian).all()
        for matrix in (references.fisher, references.ggn, references.empirical_fisher):
            assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.abs(matrix).max()


@pytest.mark.parametrize(
    "theorem",
    [
        Exact("digonal", ("fisher",), "diagonal", "misspelt"),
        Exact("diagonal", ("fisher",), "diagonal", "misspelt", scenarios="softmx*"),
        Exact("diagonal", ("fischer",), "diagonal", "misspelt"),
    ],
    ids=["approximation", "scenarios", "matrices"],
)
def test_a_theorem_that_speaks_of_nothing_is_refused(theorem: Exact) -> None:
    class Plugin:
        @cv.hookimpl
        def curvature_conformance_theorems(self, subject: str) -> Any:
            return [theorem] if subject == "diagonal" else []

    name = cv.register(Plugin(), name="proves")
    try:
        with pytest.raises(ValueError, match="about no scenario or matrix that there is"):
            run("diagonal")
        assert run("kfac", fast=True).conforms
    finally:
        cv.unregister(name)
