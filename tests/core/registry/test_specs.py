"""A spec that could not work is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest

import curvature as cv
from curvature.registry import api, names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "non-empty"),
        ({"name": " kit"}, "outer spaces"),
        ({"name": 3}, "non-empty string"),
        ({"loader": "kit.backend"}, "module:attribute"),
        ({"loader": "kit.backend:"}, "module:attribute"),
        ({"loader": None}, "module:attribute"),
        ({"probe": "kit"}, "module:attribute"),
        ({"requires": "torch"}, "tuple of strings"),
        ({"requires": (1,)}, "tuple of strings"),
        ({"api": "1.0"}, "pair"),
        ({"api": (1,)}, "pair"),
    ],
)
def test_malformed_backend_spec(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cv.BackendSpec(**{"name": "kit", "loader": "kit:Kit", **change})


@pytest.mark.parametrize("change", [{"name": ""}, {"loader": "x"}, {"needs": "vmap"}, {"api": 1}])
def test_malformed_approximation_spec(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        cv.ApproximationSpec(**{"name": "mine", "loader": "mine:Mine", **change})


def test_specs_are_hashable_values() -> None:
    assert cv.BackendSpec("a", "b:C") == cv.BackendSpec("a", "b:C")
    assert len({cv.ApproximationSpec("a", "b:C"), cv.ApproximationSpec("a", "b:C", extensions={"x": "y"})}) <= 2


@pytest.mark.parametrize(("version", "works"), [((1, 0), True), ((1, 1), False), ((0, 0), False), ((2, 0), False)])
def test_versions_that_get_on(version: tuple[int, int], works: bool) -> None:
    assert api.API == (1, 0), "this table is for version 1.0 of the interface"
    assert api.compatible(version) is works


def test_near_names_ignore_case_and_underscores() -> None:
    assert names.near("Low_Rank", ["low-rank", "kfac"]) == ["low-rank"]
    assert names.near("KFAC", ["low-rank", "kfac"]) == ["kfac"]
    assert names.near("qqq", ["low-rank", "kfac"]) == []
