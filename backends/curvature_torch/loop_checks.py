"""What a training loop must give for the rules of a natural-gradient step, and what else its gradients may be."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import curvature as cv

REMEDY = "write optimizer.step((x, y)), or optimizer.step(closure)"
DAMPING = 1e-2
"""λ where no loss is known and none was given."""


def rules_without_loss(options: Mapping[str, Any], likelihood: cv.Likelihood) -> dict[str, Any]:
    """The options of a ``curvature.NaturalGradient`` for steps that know neither the targets nor the loss.

    Rules that were given stay, and must do without; a damping that was left to the optimiser is constant, with a warning.

    Raises:
        DataError: naming the option that needs more.
    """
    require_no_loss(options, likelihood)
    if options.get("damping") is not None:
        return dict(options)
    warnings.warn(
        f"step() was called without data or closure, so that no loss is known to adapt the damping by: it stays at {DAMPING}; "
        f"{REMEDY}, or give damping=",
        cv.CurvatureWarning,
        stacklevel=4,
    )
    return {**options, "damping": DAMPING}


def require_no_loss(options: Mapping[str, Any], likelihood: cv.Likelihood) -> None:
    """Refuse rules that look at the loss or at the targets.

    Raises:
        DataError: naming the option, and the line to change.
    """
    fisher, damping, rate = options.get("fisher"), options.get("damping"), options.get("learning_rate")
    if fisher == "empirical" or (fisher == "ggn" and not likelihood.canonical):
        raise cv.DataError(
            f"fisher={fisher!r} is made of the targets, and step() was called without them; write optimizer.step((x, y))"
        )
    needing = {
        "damping": damping is not None and (bool(getattr(damping, "interval", 0)) or hasattr(damping, "candidates")),
        "learning_rate": bool(getattr(rate, "measures", False)),
        "acceleration": options.get("acceleration") is not None,
    }
    for name, needs in needing.items():
        if needs:
            raise cv.DataError(f"{name}={options[name]!r} looks at the loss, and step() was called without one; {REMEDY}")


def warn_of_scale(problem: cv.Problem, gradient: Mapping[str, Tensor]) -> None:
    """Say so if the loop's gradient is a multiple, above one, of that of the likelihood.

    A smaller one is what clipping leaves.
    """
    ours = torch.cat([g.reshape(-1) for g in problem.gradient().values()])
    theirs = torch.cat([gradient[name].reshape(-1) for name in problem.params])
    squared = float(ours @ ours)
    if not squared > 0:
        return
    ratio = float(ours @ theirs) / squared
    apart = float((theirs - ratio * ours).norm()) / abs(ratio) / squared**0.5 if ratio else 1.0
    if ratio > 1.01 and apart < 0.01:
        warnings.warn(
            f"the gradients are {ratio:.4g} times those of -log p of the {type(problem.likelihood).__name__} (reduction="
            f"{problem.reduction!r}), and so is every step: is the loop's loss a sum (reduction='sum'), added up undivided "
            f"over several parts, or a mean of squares (-log p of Gaussian(variance=outputs / 2))?",
            cv.CurvatureWarning,
            stacklevel=4,
        )
