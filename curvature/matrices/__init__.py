"""Curvature matrices of a problem, as matrix-free operators."""

from .base import CurvatureMatrix
from .bending import second_derivative
from .fisher import GGN, EmpiricalFisher, Fisher, MonteCarloFisher
from .gauss_newton import GaussNewtonMatrix
from .gram import Gram
from .hessian import Hessian
from .jacobian import Jacobian

__all__ = [
    "GGN",
    "CurvatureMatrix",
    "EmpiricalFisher",
    "Fisher",
    "GaussNewtonMatrix",
    "Gram",
    "Hessian",
    "Jacobian",
    "MonteCarloFisher",
    "second_derivative",
]
