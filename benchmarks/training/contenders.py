"""Who takes part in what, and among which learning rates each is tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

PINNS = ("poisson-2d", "poisson-5d")
VECTORS = (*PINNS, "ising", "softmax")
MODULES = ("curves", "digits", "text")

Settings = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A method.

    Attributes:
        name: what tables call it.
        function: "module:function" of this package, called with (problem, settings, trace).
        problems: where it takes part.
        settings: fixed ones; of a value that is a dict, the problem's own.
        rates: problem → the middle one of three learning rates to try, a factor of about three apart.
        tuned: what they are called, where it is something else that is tuned.
        libraries: distributions whose versions are recorded; it takes part only where the module ``needs`` can be imported.
    """

    name: str
    function: str
    problems: tuple[str, ...]
    settings: Settings = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    tuned: str = "learning_rate"
    libraries: tuple[str, ...] = ()
    needs: str = ""

    def grid(self, problem: str) -> list[Settings]:
        """The settings to choose from: one where there is nothing to tune."""
        fixed = {name: value[problem] if isinstance(value, dict) else value for name, value in self.settings.items()}
        if problem not in self.rates:
            return [fixed]
        place = round(2 * math.log10(self.rates[problem]))
        rates = [float(f"{1 if at % 2 == 0 else 3}e{at // 2}") for at in (place - 1, place, place + 1)]
        return [{**fixed, self.tuned: rate} for rate in rates]

    def run(self, problem: Any, settings: Settings, trace: Any) -> None:
        """Run until ``trace`` says that it is enough, or until the method ends."""
        module, _, name = self.function.partition(":")
        getattr(import_module(f".{module}", __package__), name)(problem, settings, trace)

    @property
    def is_installed(self) -> bool:
        """Whether what it needs can be imported."""
        return not self.needs or find_spec(self.needs) is not None


def _first_order(name: str, middle: Mapping[str, float], **settings: Any) -> list[Contender]:
    """One method by both libraries: optax for vectors, torch.optim for modules."""
    method = name.split(" ")[0]
    optax = {problem: rate for problem, rate in middle.items() if problem in VECTORS}
    torch = {problem: rate for problem, rate in middle.items() if problem in MODULES}
    return [
        Contender(
            name, f"peers.optax_methods:{method}", tuple(optax), settings, optax, libraries=("jax", "optax"), needs="optax"
        ),
        Contender(name, f"peers.torch_methods:{method}", tuple(torch), settings, torch, libraries=("torch",), needs="torch"),
    ]


_ADAM = {"poisson": 1e-2, "ising": 3e-2, "softmax": 1e-1, "curves": 1e-3, "digits": 3e-2, "text": 3e-3}
_NESTEROV = {"poisson": 3e-3, "ising": 3e-2, "softmax": 1.0, "curves": 1e-2, "digits": 3e-1, "text": 1e-1}
_NESTEROV_99 = {"poisson": 3e-4, "ising": 1e-2, "softmax": 3e-1, "curves": 3e-3, "digits": 3e-2, "text": 3e-2}


def _spread(rates: Mapping[str, float]) -> dict[str, float]:
    return {problem: rates.get(problem, rates["poisson"]) for problem in (*VECTORS, *MODULES)}


def _scipy(name: str, function: str, problems: tuple[str, ...], **settings: Any) -> Contender:
    return Contender(name, f"peers.scipy_methods:{function}", problems, settings, libraries=("jax", "scipy"), needs="scipy")


_ALL = (
    Contender("curvature", "ours:run", (*VECTORS, *MODULES), libraries=("curvature", "jax", "torch"), needs="curvature"),
    Contender(
        "curvature in optax", "ours_optax:run", ("digits",), libraries=("curvature", "jax", "optax"), needs="curvature_jax"
    ),
    *_first_order("adam", _spread(_ADAM)),
    *_first_order("nesterov 0.9", _spread(_NESTEROV), momentum=0.9),
    *_first_order("nesterov 0.99", _spread(_NESTEROV_99), momentum=0.99),
    _scipy("l-bfgs-b", "lbfgs", VECTORS, history=50),
    _scipy("bfgs", "bfgs", (*PINNS, "softmax")),
    _scipy("minpack lm", "least_squares", PINNS, method="lm"),
    _scipy("least squares trf", "least_squares", PINNS, method="trf"),
    Contender("l-bfgs", "peers.torch_methods:lbfgs", ("curves", "digits"), {"history": 50}, libraries=("torch",), needs="torch"),
    Contender(
        "kfac-jax",
        "peers.kfac_jax_method:run",
        ("curves", "digits"),
        {"batch": {"curves": 1000, "digits": 128}},
        {"curves": 1.0, "digits": 1.0},
        "initial_damping",
        libraries=("kfac-jax", "jax"),
        needs="kfac_jax",
    ),
)


def of(problem: str) -> dict[str, Contender]:
    """The contenders of a problem by name."""
    return {contender.name: contender for contender in _ALL if problem in contender.problems}
