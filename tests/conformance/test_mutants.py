"""The suite finds every planted defect on every backend, says what it is, and no check finds none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import curvature as cv
from curvature_conformance import all_checks, check, issues
from curvature_conformance.checks.__main__ import page
from curvature_conformance.mutants import Mutant, all_mutants
from curvature_conformance.mutants.of_approximations import tampered
from curvature_conformance.mutants.of_backends import NOT_WRITTEN, claiming, planted, refuses

MUTANTS = {mutant.name: mutant for mutant in all_mutants()}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "mutants.md"


@pytest.fixture(scope="module", params=["numpy", "torch", "jax"])
def sound(request: pytest.FixtureRequest) -> Iterator[cv.Backend]:
    if request.param != "jax":
        yield cv.backend(request.param, dtype="float64")
        return
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield cv.backend("jax", dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_by_a_message_that_names_it(name: str, sound: cv.Backend) -> None:
    mutant = MUTANTS[name]
    if sound.name in mutant.impossible:
        pytest.skip(f"not planted: {mutant.impossible[sound.name]}")
    assert mutant.escapes(sound) == ""


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) == len(all_mutants())
    of_backends_and_approximations = [m for m in all_mutants() if m.kind in ("backend", "approximation")]
    assert len(of_backends_and_approximations) >= 80
    assert len([m for m in of_backends_and_approximations if "jax" not in m.impossible]) >= 80


def test_every_defect_is_aimed_at_a_check_that_there_is() -> None:
    assert {mutant.check for mutant in all_mutants()} <= {check.name for check in all_checks()}


def rows(section: str) -> dict[str, list[str]]:
    """First cell → other cells of the table under a heading of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("| ")][2:]
    found = {}
    for line in lines:
        first, *others = (cell.strip() for cell in re.split(r"\s*\|\s*", line))
        found[first.strip("`")] = others
    return found


def test_the_page_holds_every_check_and_every_check_catches_something() -> None:
    table = rows("Checks, and what they catch")
    assert list(table) == [check.name for check in all_checks()]
    for name, (caught, *_) in table.items():
        names = caught.split("; ")
        assert names, name
        assert set(names) <= set(MUTANTS), name


def test_the_page_holds_every_defect_and_agrees_with_where_it_is_caught() -> None:
    defects, checks = rows("Defects"), rows("Checks, and what they catch")
    assert list(defects) == list(MUTANTS)
    for name, mutant in MUTANTS.items():
        assert defects[name][1] == f"`{mutant.check}`"
        assert name in checks[mutant.check][0].split("; ")


def test_the_head_of_the_page_counts_right() -> None:
    head = PAGE.read_text(encoding="utf-8").partition("##")[0]
    assert f"{len(MUTANTS)} defects" in head
    assert f"its {len(all_checks())} checks" in head


# What is planted and changes nothing is no defect -----------------------------------------------------


@pytest.mark.parametrize("name", ["kfac", "diagonal", "exact", "ekfac", "block-diagonal"])
def test_a_method_in_which_nothing_is_tampered_with_conforms(name: str) -> None:
    assert issues(tampered(name, name)(), only_scenarios="*regression/plain") == []


def test_a_backend_in_which_nothing_is_changed_conforms() -> None:
    assert issues(planted(lambda kind: {})(cv.backend("numpy")), fast=True) == []


def test_a_missing_capability_that_is_declared_conforms() -> None:
    honest = planted(claiming("vmap", NOT_WRITTEN, vmap=refuses))(cv.backend("numpy"))
    assert issues(honest, only_checks="derivatives/*") == []


class OnlyLogProb(cv.Likelihood):
    """A third party's: exponential with log rate, f - y exp f."""

    def log_prob(self, outputs: Any, y: Any) -> Any:
        xp = cv.namespace(outputs)
        return xp.sum(outputs - y * xp.exp(outputs), axis=1)

    def check(self, outputs: Any, y: Any) -> Any:
        return y

    def sample(self, rng: Any, outputs: Any) -> Any:
        xp = cv.namespace(outputs)
        return -xp.log(1.0 - rng.uniform(tuple(outputs.shape), dtype=outputs.dtype)) * xp.exp(-outputs)

    def fisher_product(self, outputs: Any, v: Any) -> Any:
        return v


def test_a_likelihood_with_little_more_than_log_prob_conforms() -> None:
    assert issues(OnlyLogProb()) == []


# An escape is said ------------------------------------------------------------------------------------


def test_an_escape_is_said() -> None:
    harmless = Mutant("nothing at all", "backend", lambda sound: sound, "arrays/double-precision", "", (), {})
    assert harmless.escapes(cv.backend("numpy")) == "arrays/double-precision does not notice it"
    caught = MUTANTS["the sign of vjp"]
    other_words = Mutant("x", "backend", caught.make, caught.check, "", ("no such words",), {})
    assert "does not say" in other_words.escapes(cv.backend("numpy"))


# The list of the checks -------------------------------------------------------------------------------


def test_the_list_of_the_checks_is_up_to_date() -> None:
    assert (PAGE.parent / "checks.md").read_text(encoding="utf-8") == page()


def test_every_check_says_what_it_shows_and_where_that_is_from() -> None:
    for found in all_checks():
        assert found.summary.endswith("."), found.name
        assert found.source, found.name
    with pytest.raises(ValueError, match="has no source"):
        check("backend", "nothing", source="")(lambda setting: None)


def test_a_message_names_its_source() -> None:
    mutant = MUTANTS["the sign of vjp"]
    outcomes = mutant.run(cv.backend("numpy"))
    assert "source: Griewank and Walther 2008" in outcomes[0].message
