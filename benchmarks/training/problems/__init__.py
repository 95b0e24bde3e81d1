"""The problems, each in a file of its own; one is imported when it is asked for, since each needs another library."""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = {
    "poisson-2d": "poisson_2d",
    "poisson-5d": "poisson_5d",
    "ising": "ising",
    "curves": "curves",
    "softmax": "softmax",
    "digits": "digits",
    "text": "text",
}


def class_of(name: str) -> Any:
    """The class of that name."""
    problem = import_module(f".{NAMES[name]}", __package__).Problem
    assert problem.name == name
    return problem


def make(name: str, seed: int = 0, device: str = "cpu") -> Any:
    """The problem of that name; ``seed`` draws the parameters at the start, the minibatches, and points where there are any."""
    return class_of(name)(seed=seed, device=device)


def x64(name: str) -> bool:
    """Whether a problem's arrays are of float64 on JAX, which has to be said before JAX starts."""
    return name in ("poisson-2d", "poisson-5d", "ising", "softmax")
