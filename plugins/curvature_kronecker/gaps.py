"""What the conformance suite asks of every approximation and some of these refuse, with the reason."""

from __future__ import annotations

from typing import Any

_OTHER_MATRICES = (
    "algebra/sums-and-products",
    "method/parameters-and-data-stay-as-they-are",
    "method/the-same-twice",
    "products/symmetric-and-positive",
    "scaling/*",
)
"""Checks that go through Monte Carlo or empirical Fishers too."""

_ALL = (
    "algebra/*",
    "inverses/*",
    "products/*",
    "spectra/*",
    "theorems/*",
    "operator/*",
    "method/a-file-keeps-its-statistics",
    "method/no-step-without-damping-changes",
    "method/statistics-merge-nearly",
)
"""Checks that make the approximation."""

_NO_CHAINS = (
    "convolutional-network/*",
    "elementwise-scale/*",
    "shared-weights/*",
    "transformer/*",
)
"""Models of several layers that are no chain of affine ones."""


def gaps(subject: str) -> list[Any]:
    """The declared gaps of KFLR and KFRA."""
    if subject not in ("kflr", "kfra"):
        return []
    import curvature as cv
    from curvature_conformance import Expectation

    impossible = cv.Support.IMPOSSIBLE
    reason = "it propagates an exact root of the Hessian or Fisher in the outputs, which draws and data are not: it refuses them"
    found = [Expectation(check, support=impossible, reason=reason) for check in _OTHER_MATRICES]
    if subject == "kfra":
        reason = "the recursion is defined for chains of affine layers and elementwise functions: it refuses other networks"
        found += [Expectation(check, model, impossible, reason) for check in _ALL for model in _NO_CHAINS]
    return found
