"""The optimisers that are compared, and what they were set to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ...optim import Adam, GradientDescent, LevenbergMarquardt, NaturalGradient, QuadraticModel

BATCH = 64
"""Examples in a minibatch of the first-order optimisers: fewer or more cost them time or steps."""

# minibatch → learning rates of (gradient descent with momentum 0.9, Adam) with the lowest training loss after 50 epochs on a
# 64-20-20-10 network, geometric mean over three seeds, among
# 0.03, 0.1, 0.2, 0.3, 0.5, 1 and 0.003, 0.01, 0.02, 0.03, 0.05.
TUNED = {16: (0.1, 0.01), 32: (0.1, 0.01), 64: (0.3, 0.02), 128: (0.5, 0.03), 256: (1.0, 0.05), 512: (1.0, 0.05)}


@dataclass(frozen=True)
class Contender:
    """An optimiser and how it is used.

    Attributes:
        key: short name for the record.
        label: name for people.
        optimizer: the optimiser.
        batch_size: examples in a minibatch, None for all.
        settings: what it was set to, for the record.
        note: the settings in a few words.
    """

    key: str
    label: str
    optimizer: Any
    batch_size: int | None
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def contenders(method: Any, name: str, *, fisher: str, seed: int, batch_size: int | None, examples: int) -> list[Contender]:
    """Natural gradient with the approximation ``method``, then the baselines."""
    if batch_size == examples:
        batch_size = None
    smaller = batch_size if batch_size is not None else BATCH
    rates, tuned_at = tuned_rates(examples if batch_size == examples else smaller)
    where = "" if tuned_at == smaller else f" (tuned for minibatches of {tuned_at})"
    return [_natural_gradient(method, name, fisher, seed, batch_size), *_baselines(rates, smaller, where)]


def tuned_rates(batch_size: int) -> tuple[tuple[float, float], int]:
    """The rates tuned for the nearest size of minibatch, and that size."""
    nearest = min(TUNED, key=lambda size: abs(math.log(size / batch_size)))
    return TUNED[nearest], nearest


def _natural_gradient(method: Any, name: str, fisher: str, seed: int, batch_size: int | None) -> Contender:
    # A dense P × P matrix costs far more to gather and factor than a step does, so it is used for ten of them. It is then the
    # matrix at one set of parameters; an average with those of ten and twenty steps ago would be older than it need be.
    seldom = name == "exact"
    every = 10 if seldom else 1
    decay = 0.0 if seldom and batch_size is None else 0.95
    # The least damping keeps steps sane where minibatches are fitted to the last: their own Fisher then vanishes, and with it
    # everything that the quadratic model has against a long step.
    damping = LevenbergMarquardt(0.01, minimum=1e-3)
    optimizer = NaturalGradient(
        method,
        fisher=fisher,
        damping=damping,
        learning_rate=QuadraticModel(),
        decay=decay,
        statistics_every=every,
        refresh_every=every,
        seed=seed,
    )
    settings = {
        "approximation": repr(method),
        "fisher": fisher,
        "damping": repr(damping),
        "learning_rate": repr(optimizer.learning_rate),
        "decay": decay,
        "statistics_every": every,
        "refresh_every": every,
    }
    note = f"{fisher} Fisher; damping, learning rate and momentum automatic"
    return Contender("natural-gradient", f"natural gradient, {name}", optimizer, batch_size, settings, note)


def _baselines(rates: tuple[float, float], batch_size: int | None, where: str) -> list[Contender]:
    for_descent, for_adam = rates
    descent = {"learning_rate": for_descent, "momentum": 0.9}
    adam = {"learning_rate": for_adam, "betas": (0.9, 0.999), "epsilon": 1e-8}
    return [
        Contender(
            "momentum",
            "gradient descent, momentum",
            GradientDescent(for_descent, momentum=0.9),
            batch_size,
            descent | {"learning_rate_tuned": True},
            f"learning rate {for_descent:g}{where}, momentum 0.9",
        ),
        Contender(
            "adam",
            "Adam",
            Adam(for_adam),
            batch_size,
            adam | {"learning_rate_tuned": True},
            f"learning rate {for_adam:g}{where}",
        ),
    ]
