"""The checks, by what they look at; importing a module adds its checks to the list."""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "arrays",
    "random_numbers",
    "linear_algebra",
    "derivatives",
    "elementary_functions",
    "parameter_uses",
    "claims",
    "imports",
    "problems",
    "matrices",
    "monte_carlo",
    "likelihoods",
    "method_class",
    "methods",
    "statistics_files",
    "operators",
    "products",
    "inverses",
    "spectra",
    "algebra",
    "scaling",
    "theorems",
    "invariance",
    "own_problems",
)


def load() -> None:
    """Import all of them, once, in order."""
    for name in _MODULES:
        import_module(f".{name}", __name__)
