"""Functions of the standard that have no derivative here: what they say about it."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..errors import DifferentiationError
from .traced import CONSTANT, Traced, constant

_SPECTRUM = (
    "its result is complex, and derivatives here are of real functions; write the transform as products with the matrices "
    "of cosines and sines, or apply it to data before differentiation"
)
_UNIQUE = "how many results there are depends on the values; use xp.sort, or take the unique values before differentiation"
_COMPLEX = "it is a function of complex arrays, and derivatives here are of real ones; keep the two parts as two real arrays"
_EIGENVALUES = "its result is complex; for a symmetric matrix use linalg.eigh, for singular values linalg.svdvals"

REASONS: dict[str, str] = {
    **dict.fromkeys(("unique_all", "unique_counts", "unique_inverse", "unique_values"), _UNIQUE),
    **dict.fromkeys(("real", "imag"), _COMPLEX),
    **dict.fromkeys(("linalg.eig", "linalg.eigvals"), _EIGENVALUES),
    **{
        f"fft.{name}": _SPECTRUM
        for name in (
            "fft", "ifft", "fftn", "ifftn", "rfft", "irfft", "rfftn", "irfftn", "hfft", "ihfft",
        )
    },
}  # fmt: skip
_OTHERS = "write it with functions that have one, or compute it before differentiation where it does not depend on the parameters"


def guarded(value: Any, name: str, op: Any) -> Any:
    """A function without a derivative rule: it serves plain arrays and constants, and refuses by name all others."""
    if isinstance(value, types.ModuleType) or not callable(value) or isinstance(value, type):
        return value

    @functools.wraps(value)
    def function(*args: Any, **kwargs: Any) -> Any:
        entries = [_plain(a, name) for a in args]
        named = {key: _plain(a, name) for key, a in kwargs.items()}
        result = value(*[a for a, _ in entries], **{key: a for key, (a, _) in named.items()})
        lifted = any(was for _, was in (*entries, *named.values()))
        return _lifted(result, op) if lifted else result

    return function


def _plain(a: Any, name: str) -> tuple[Any, bool]:
    """An argument without the wrapping of constants, and whether there was any."""
    if type(a) is Traced:
        if a._trace is CONSTANT:
            return a._value, True
        reason = REASONS.get(name, _OTHERS)
        raise DifferentiationError(f"{name} has no derivative rule in curvature.autodiff: {reason}")
    if type(a) in (list, tuple):
        entries = [_plain(entry, name) for entry in a]
        return type(a)(entry for entry, _ in entries), any(was for _, was in entries)
    return a, False


def _lifted(result: Any, op: Any) -> Any:
    """The arrays of a result as constants."""
    if isinstance(result, (list, tuple)):
        parts = [_lifted(a, op) for a in result]
        build: Callable[..., Any] = getattr(type(result), "_make", type(result))  # named tuples, and the others
        return build(parts)
    return constant(result, op) if hasattr(result, "shape") and hasattr(result, "dtype") else result
