"""What the natural gradient carries through an Optax loop: a tree of arrays of fixed shapes."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
Tree = Any


class StepReport(NamedTuple):
    """What happened in the last step, 0-d arrays: see ``curvature.optim.StepInfo``.

    Attributes:
        loss: objective (with l2) before the step.
        gradient_norm: Euclidean norm of its gradient.
        damping: λ that was used.
        learning_rate, momentum: α and μ.
        predicted: change of the quadratic model, NaN where nobody asked for it.
        ratio: reduction ratio ρ, NaN where it was not computed.
        accepted: whether the update is not zero.
    """

    loss: Array
    gradient_norm: Array
    damping: Array
    learning_rate: Array
    momentum: Array
    predicted: Array
    ratio: Array
    accepted: Array


class NaturalGradientState(NamedTuple):
    """What ``curvature_jax.natural_gradient`` carries from step to step.

    A pytree of arrays for ``jit``, ``scan``, ``vmap`` and checkpoints. Its structure is that of the first update; without
    example ``data`` the statistics are None before it.

    Attributes:
        step: calls of ``update`` so far.
        damping: λ of the next step; NaN before the first one where its rule begins with a share of F̂.
        velocity: the last update δ, like the parameters; None where no rule asks for it.
        memory: (4,) κ, ᾱ, μ̄ of ``curvature.optim.SmoothedModel`` and what the terms of its last model came to; None with
            other rules.
        statistics: moving average of the approximation's statistics.
        updates: how many went into it.
        operator: what is kept of the approximation's decompositions between refreshes; None where there is one in every step.
        age: steps since the last refresh.
        key: seed of the Monte Carlo Fisher's draws, into which each step folds its number; the same for all steps.
        failures: steps so far that were not taken because a number was not finite.
        last: report of the last step.
    """

    step: Array
    damping: Array
    velocity: Tree
    memory: Array | None
    statistics: Tree
    updates: Array
    operator: Any
    age: Array
    key: Array
    failures: Array
    last: StepReport
