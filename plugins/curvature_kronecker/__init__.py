"""Kronecker-factored approximations."""

from __future__ import annotations

from typing import Any

import curvature as cv

_LOADERS = {
    "kfac": "curvature_kronecker.kfac:KFAC",
    "ekfac": "curvature_kronecker.ekfac:EKFAC",
    "kflr": "curvature_kronecker.kflr:KFLR",
    "kfra": "curvature_kronecker.kfra:KFRA",
    "shampoo": "curvature_kronecker.shampoo:Shampoo",
    "kfac-tridiagonal": "curvature_kronecker.tridiagonal:TridiagonalKFAC",
    "kron-nearest": "curvature_kronecker.nearest:NearestKronecker",
}


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """K-FAC and its relatives."""
    return [cv.ApproximationSpec(name, loader=loader, needs=("parameter_uses",)) for name, loader in _LOADERS.items()]


@cv.hookimpl
def curvature_conformance_expectations(subject: str) -> list[Any]:
    """What of the conformance suite these approximations refuse."""
    from .gaps import gaps

    return gaps(subject)
