"""The optimisers that are compared, and what they were set to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...optim import Adam, GradientDescent, LevenbergMarquardt, NaturalGradient, QuadraticModel

BATCH = 128
"""Examples in a minibatch of the first-order optimisers: fewer cost them time and more cost them steps."""

# minibatch → learning rates of (gradient descent with momentum 0.9, Adam): those with the lowest training loss after 50 epochs,
# geometric mean over the seeds 0, 1 and 2, among 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5 and 0.005, 0.01, 0.02, 0.03, 0.05, 0.07,
# 0.1, 0.15 on the default network. The next larger rate of momentum always failed.
TUNED = {
    16: (0.1, 0.01),
    32: (0.2, 0.02),
    64: (0.3, 0.03),
    128: (0.7, 0.05),
    256: (1.0, 0.1),
    512: (1.0, 0.07),
    1438: (1.0, 0.07),
}


@dataclass(frozen=True)
class Contender:
    """An optimiser and how it is used.

    Attributes:
        key: name for the record.
        label: name for people; ``short`` where there is little room.
        optimizer: the optimiser.
        batch_size: examples in a minibatch, None for all.
        settings: what it was set to, for the record.
        note: the settings in a few words.
    """

    key: str
    label: str
    short: str
    optimizer: Any
    batch_size: int | None
    settings: dict[str, Any]
    note: str


def natural_gradient(method: Any, *, fisher: str, dense: bool, seed: int, batch_size: int | None) -> Contender:
    """Natural gradient with its automatic damping, learning rate and momentum.

    Args:
        method: the approximation.
        fisher: which Fisher information it approximates.
        dense: whether its operator is a dense matrix.
        seed: seed of the Monte Carlo Fisher's draws.
        batch_size: examples in a minibatch, None for all.
    """
    # A dense P × P matrix costs far more to gather and to factor than a step does, so it serves for ten of them. On all the
    # examples it then is the matrix at one set of parameters: an average with older ones would only be older.
    every = 10 if dense else 1
    decay = 0.0 if dense and batch_size is None else 0.95
    # The least damping keeps steps sane once minibatches are fitted to the last example: their own Fisher then vanishes, and
    # with it all that the quadratic model has against a long step.
    # The quadratic model of a few examples is no guide to the step that suits all of them: bound its Kullback-Leibler divergence.
    trust_region = 0.01 if batch_size is not None and batch_size < 64 else None
    options: dict[str, Any] = {
        "fisher": fisher,
        "damping": LevenbergMarquardt(0.01, minimum=1e-3),
        "learning_rate": QuadraticModel(),
        "trust_region": trust_region,
        "decay": decay,
        "statistics_every": every,
        "refresh_every": every,
        "seed": seed,
    }
    settings = {"approximation": method, **options}
    name = method.name or type(method).__name__
    return Contender(
        "natural-gradient",
        f"natural gradient, {name}",
        "natural gradient",
        NaturalGradient(method, **options),
        batch_size,
        {name: value if isinstance(value, (str, int, float, type(None))) else repr(value) for name, value in settings.items()},
        f"{name} of the {fisher} Fisher; damping, learning rate and momentum automatic",
    )


def baselines(batch_size: int) -> list[Contender]:
    """Gradient descent with momentum and Adam, with the learning rates tuned for the nearest size of minibatch."""
    (descent, adam), tuned_for = tuned_rates(batch_size)
    how = {"batch_size": tuned_for, "by": "grid search for the lowest training loss after 50 epochs, three seeds"}
    where = "tuned" if tuned_for == batch_size else f"tuned for minibatches of {tuned_for}"
    return [
        Contender(
            "momentum",
            "gradient descent, momentum",
            "momentum",
            GradientDescent(descent, momentum=0.9),
            batch_size,
            {"learning_rate": descent, "momentum": 0.9, "tuned": how},
            f"gradient descent, momentum 0.9, learning rate {descent:g} ({where})",
        ),
        Contender(
            "adam",
            "Adam",
            "Adam",
            Adam(adam),
            batch_size,
            {"learning_rate": adam, "betas": [0.9, 0.999], "epsilon": 1e-8, "tuned": how},
            f"learning rate {adam:g} ({where})",
        ),
    ]


def tuned_rates(batch_size: int) -> tuple[tuple[float, float], int]:
    """The rates tuned for the nearest size of minibatch (below the least of these in proportion), and that size."""
    nearest = min(TUNED, key=lambda size: abs(math.log(size / batch_size)))
    descent, adam = TUNED[nearest]
    share = min(1.0, batch_size / nearest) if nearest == min(TUNED) else 1.0
    return (descent * share, adam * share), nearest
