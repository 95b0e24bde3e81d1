"""What can be tested: a backend, an approximation, a likelihood, an operator or a problem, by name or as an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import curvature as cv

from .cases.of_likelihood import LikelihoodExample, example_of, shipped
from .cases.of_operator import OperatorExample
from .cases.of_problem import ProblemExample
from .checklist import Kind
from .scenario import Scenario
from .scenarios import all_scenarios
from .setting import TOLERANCES, Setting

Example = Scenario | LikelihoodExample | OperatorExample | ProblemExample
"""What a check is run on."""

LARGEST = 2000
"""Rows and columns of an operator up to which it is compared with its dense form."""

_KINDS: dict[str, tuple[Kind, ...]] = {
    "backend": ("backend", "matrix", "likelihood"),
    "approximation": ("method", "approximation", "operator"),
    "likelihood": ("likelihood",),
    "operator": ("operator",),
    "problem": ("problem",),
}


class UnknownSubjectError(LookupError):
    """No backend and no approximation has this name."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is tested, where.

    Attributes:
        kind: what it is.
        name: its name, or that of its class.
        setting: backend and dtype, and the approximation if it is one.
        example: the one example of a likelihood, an operator or a problem; the others have the suite's scenarios.
    """

    kind: Literal["backend", "approximation", "likelihood", "operator", "problem"]
    name: str
    setting: Setting
    example: Example | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of the checks that it must pass."""
        return _KINDS[self.kind]

    def examples(self, kind: Kind) -> Sequence[Example | None]:
        """What the checks of one kind are run on; None for those that take the setting alone."""
        if kind in ("backend", "method"):
            return (None,)
        if self.example is not None:
            return (self.example,)
        return shipped() if kind == "likelihood" else all_scenarios(self.name)


def subject_of(subject: Any, *, backend: str | cv.Backend | None = None, device: Any = None, dtype: str | None = None) -> Subject:
    """The subject that a name or an object stands for.

    Args:
        subject: name of a backend or an approximation, a ``Backend``, an ``Approximation`` or a ``Likelihood`` (or the class
            of one), a ``LikelihoodExample`` (a likelihood with outputs and points of one's own), an ``Operator`` or a
            ``Problem``.
        backend: where an approximation or a likelihood is tested, by default "numpy". An operator and a problem are tested
            where they are.
        device: device for a backend given by name.
        dtype: "float64" or "float32"; by default float64 where the backend has it.

    Raises:
        UnknownSubjectError: the name is neither that of a backend nor of an approximation; says which there are.
        ValueError: ``backend`` names another backend than the subject, or ``device`` or ``dtype`` is given for a subject that
            has its own.
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
    if isinstance(subject, (cv.Operator, cv.Problem)):
        if (backend, device, dtype) != (None, None, None):
            raise ValueError(f"a {type(subject).__name__} is tested where it is; move it with .to(backend, device=, dtype=)")
        return _placed(subject)
    place = _setting("numpy" if backend is None else backend, device, dtype)
    if isinstance(subject, cv.Approximation):
        label = type(subject).name or type(subject).__name__
        return Subject("approximation", label, replace(place, approximation=subject, label=label))
    if isinstance(subject, cv.Likelihood):
        subject = example_of(subject)
    if isinstance(subject, LikelihoodExample):
        return Subject("likelihood", subject.name, place, subject)
    raise TypeError(
        f"a subject is the name of a backend or an approximation, a Backend, an Approximation, a Likelihood, an Operator or a "
        f"Problem, got {subject!r}"
    )


def _placed(subject: cv.Operator | cv.Problem) -> Subject:
    """An operator or a problem, in the setting of its own backend, device and dtype."""
    dtype = subject.dtype if isinstance(subject, cv.Operator) else subject.model.dtype
    backend = subject.backend
    name = next((name for name in TOLERANCES if dtype == getattr(backend.xp, name, None)), str(dtype))
    setting = Setting(backend, name, bound=True)
    if isinstance(subject, cv.Operator):
        if max(subject.shape) > LARGEST:
            raise ValueError(
                f"a {type(subject).__name__} of {subject.shape[0]} × {subject.shape[1]} is too large to be compared with its "
                f"dense form; test one of at most {LARGEST} rows and columns"
            )
        label = type(subject).__name__
        return Subject("operator", label, setting, OperatorExample(label, subject))
    label = str(getattr(subject.model, "name", "") or type(subject.likelihood).__name__)
    return Subject("problem", label, setting, ProblemExample(label, subject))


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
