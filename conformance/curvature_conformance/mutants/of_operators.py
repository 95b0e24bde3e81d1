"""Defects of an operator that is tested by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import Dense

from .mutant import Mutant


class OwnTranspose(Dense):
    """A transpose that is forgotten."""

    def _transpose(self) -> Any:
        return self


def _unsymmetric(kind: type[Dense], *, called_symmetric: bool) -> Callable[[cv.Backend], cv.Operator]:
    def make(backend: cv.Backend) -> cv.Operator:
        matrix = backend.asarray(np.random.default_rng(2).standard_normal((4, 4)))
        operator = kind(matrix, backend=backend, symmetric=False)
        operator.symmetric = called_symmetric
        return operator

    return make


_CHECK, _NAME = "products/the-transpose-is-the-adjoint", "*"

MUTANTS = (
    Mutant(
        "a transpose forgotten",
        "operator",
        _unsymmetric(OwnTranspose, called_symmetric=False),
        _CHECK,
        _NAME,
        ("A.T", "transpose"),
        {},
    ),
    Mutant(
        "called symmetric, and not",
        "operator",
        _unsymmetric(Dense, called_symmetric=True),
        _CHECK,
        _NAME,
        ("whose attribute symmetric is True",),
        {},
    ),
)
