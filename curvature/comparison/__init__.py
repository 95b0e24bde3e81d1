"""Several approximations of one matrix, measured side by side; and the one that suits a budget."""

from .comparing import compare
from .memory import held_bytes
from .number import Number
from .result import Comparison, Row
from .suggesting import suggest
from .suggestion import Option, Suggestion

__all__ = ["Comparison", "Number", "Option", "Row", "Suggestion", "compare", "held_bytes", "suggest"]
