"""Planted defects: how the suite is tested. Each is caught, by a message that names it, on every backend.

``python -m curvature_conformance.mutants --backend NAME`` plants all of them on a backend and looks; ``--table`` runs every check
on every one of them and prints the page that docs/mutants.md is.
"""

from __future__ import annotations

from .mutant import Mutant


def all_mutants() -> tuple[Mutant, ...]:
    """All of them, in the order of the kinds."""
    from . import (
        of_approximations,
        of_backends,
        of_likelihoods,
        of_matrices,
        of_operations,
        of_operators,
        of_problems,
    )

    modules = (of_backends, of_matrices, of_approximations, of_operations, of_operators, of_likelihoods, of_problems)
    return tuple(mutant for module in modules for mutant in module.MUTANTS)


__all__ = ["Mutant", "all_mutants"]
