"""Capabilities as claims that the conformance suite checks both ways."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Support(Enum):
    """How a capability is provided."""

    NATIVE = "native"  # by the framework itself
    DERIVED = "derived"  # by the core, from the Array API
    NOT_IMPLEMENTED = "not implemented"  # ours to do
    UPSTREAM = "upstream"  # theirs to do; the reason names the issue
    IMPOSSIBLE = "impossible"  # the reason says why


@dataclass(frozen=True)
class Claim:
    """A claim about one capability.

    A claim of NATIVE or DERIVED must pass its conformance checks; with any other the capability must raise
    ``UnsupportedError``, and the reason is mandatory.
    """

    support: Support
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.supported and not self.reason:
            raise ValueError(f"a claim of {self.support.value!r} needs a reason")

    @property
    def supported(self) -> bool:
        """Whether the capability is there."""
        return self.support in (Support.NATIVE, Support.DERIVED)


CAPABILITIES = ("arrays", "vjp", "jvp", "linearize", "hvp", "vmap", "jit", "parameter_uses", "float64")
"""Names of the capabilities that a backend makes claims about."""
