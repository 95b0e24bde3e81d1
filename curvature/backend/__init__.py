"""Backends: an Array API namespace with what the standard lacks, derivatives, and the structure of a model."""

from .array import ArrayBackend
from .base import Backend
from .capabilities import CAPABILITIES, Claim, Support
from .closures import Closure, Keyed
from .gram import gram_by, gram_by_panels
from .namespaces import namespace
from .rng import Rng
from .uses import ParameterUses, Use
from .values import has_values

__all__ = [
    "CAPABILITIES",
    "ArrayBackend",
    "Backend",
    "Claim",
    "Closure",
    "Keyed",
    "ParameterUses",
    "Rng",
    "Support",
    "Use",
    "gram_by",
    "gram_by_panels",
    "has_values",
    "namespace",
]
