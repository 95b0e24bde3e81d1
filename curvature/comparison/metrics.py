"""What is measured of an approximation: its name, what it means, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One column.

    Attributes:
        heading: of the column.
        meaning: in words, for the legend of a plot.
        better: +1 where larger is better, -1 where smaller is, 0 where neither is.
        kind: "number", "seconds", "bytes" or "multiple".
        is_cost: whether it is what an approximation costs rather than how good it is.
    """

    heading: str
    meaning: str
    better: int
    kind: str = "number"
    is_cost: bool = False


METRICS = {
    "error": Metric("error", "relative Frobenius error ‖F - A‖ / ‖F‖", -1),
    "cosine": Metric("cosine", "cosine between the natural gradients of A and F", +1),
    "step_error": Metric("step error", "relative error of the natural gradient in the norm of F + δI", -1),
    "kl": Metric("KL (nats)", "KL(N(0, (A + δI)⁻¹) ‖ N(0, (F + δI)⁻¹))", -1),
    "effective_dimension": Metric("eff. dim.", "effective dimension tr A (A + δI)⁻¹", 0),
    "seconds": Metric("make", "time to make it: statistics and build", -1, "seconds", True),
    "gradients": Metric("gradients", "time to make it, in gradients", -1, "multiple", True),
    "first_solve": Metric("first solve", "time of the first solve", -1, "seconds", True),
    "solve": Metric("solve", "time of another solve", -1, "seconds", True),
    "bytes": Metric("memory", "memory that the operator holds", -1, "bytes", True),
}
