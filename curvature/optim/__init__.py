"""Optimisers: natural gradient, and the first-order methods that it is compared with."""

from .damping import Constant, Damping, LevenbergMarquardt
from .first_order import Adam, GradientDescent
from .natural_gradient import NaturalGradient
from .state import State, StepInfo
from .step_size import Backtracking, QuadraticModel

__all__ = [
    "Adam",
    "Backtracking",
    "Constant",
    "Damping",
    "GradientDescent",
    "LevenbergMarquardt",
    "NaturalGradient",
    "QuadraticModel",
    "State",
    "StepInfo",
]
