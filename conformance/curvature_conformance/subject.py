"""What can be tested: a backend, an approximation or a likelihood, by name or as an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import curvature as cv

from .setting import Setting


class UnknownSubjectError(LookupError):
    """No backend and no approximation has this name."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is tested, where.

    Attributes:
        kind: what it is.
        name: its name, or that of its class.
        setting: backend and dtype, and the approximation if it is one.
        likelihood: the likelihood if it is one.
    """

    kind: Literal["backend", "approximation", "likelihood"]
    name: str
    setting: Setting
    likelihood: cv.Likelihood | None = None


def subject_of(subject: Any, *, backend: str | cv.Backend | None = None, device: Any = None, dtype: str | None = None) -> Subject:
    """The subject that a name or an object stands for.

    Args:
        subject: name of a backend or an approximation, a ``Backend``, an ``Approximation`` (or its class), or a
            ``Likelihood``.
        backend: where an approximation or a likelihood is tested, by default "numpy".
        device: device for a backend given by name.
        dtype: "float64" or "float32"; by default float64 where the backend has it.

    Raises:
        UnknownSubjectError: the name is neither that of a backend nor of an approximation; says which there are.
        ValueError: ``backend`` names another backend than the subject.
        BackendUnavailableError: the backend cannot be used here.
    """
    if isinstance(subject, str) and (method := _approximation(subject)) is not None:
        subject = method
    if isinstance(subject, type) and issubclass(subject, (cv.Approximation, cv.Likelihood)):
        subject = subject()
    if isinstance(subject, (str, cv.Backend)):
        if backend is not None and backend != subject:
            raise ValueError(f"the subject is a backend itself, so it cannot be tested on the backend {backend!r}")
        return backend_subject(subject, device=device, dtype=dtype)
    place = _setting("numpy" if backend is None else backend, device, dtype)
    if isinstance(subject, cv.Approximation):
        label = type(subject).name or type(subject).__name__
        setting = Setting(place.backend, place.dtype, subject, label, place.bound)
        return Subject("approximation", label, setting)
    if isinstance(subject, cv.Likelihood):
        return Subject("likelihood", type(subject).__name__, place, subject)
    raise TypeError(
        f"a subject is the name of a backend or an approximation, a Backend, an Approximation or a Likelihood, got {subject!r}"
    )


def backend_subject(backend: str | cv.Backend, *, device: Any = None, dtype: str | None = None) -> Subject:
    """The backend of that name, or a backend object, as the subject."""
    setting = _setting(backend, device, dtype)
    return Subject("backend", setting.backend.name, setting)


def _approximation(name: str) -> cv.Approximation | None:
    """The approximation of that name, or None if the name is that of a backend."""
    try:
        found: cv.Approximation = cv.approximation(name)
        return found
    except cv.UnknownApproximationError as no_approximation:
        try:
            cv.backend(name)
        except cv.UnknownBackendError as no_backend:
            raise UnknownSubjectError(f"{no_backend}; {no_approximation}") from None
        return None


def _setting(backend: str | cv.Backend, device: Any, dtype: str | None) -> Setting:
    if isinstance(backend, str):
        found, bound = cv.backend(backend, device=device), False
    else:
        if device is not None:
            raise ValueError("a device goes with the name of a backend; a backend object has its own")
        found, bound = backend, True
    claim = found.capabilities.get("float64")
    default = "float64" if claim is None or claim.supported else "float32"
    if dtype is None and found.dtype is not None:
        default = found.dtype
    return Setting(found, dtype or default, bound=bound)
