"""Backends: an Array API namespace with what the standard lacks, derivatives, and the structure of a model."""

from .array import ArrayBackend
from .base import Backend
from .capabilities import CAPABILITIES, Claim, Support
from .namespaces import namespace
from .rng import Rng
from .uses import ParameterUses, Use

__all__ = [
    "CAPABILITIES",
    "ArrayBackend",
    "Backend",
    "Claim",
    "ParameterUses",
    "Rng",
    "Support",
    "Use",
    "namespace",
]
