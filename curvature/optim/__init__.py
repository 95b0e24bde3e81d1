"""Optimisers: natural gradient with rules that can be exchanged one by one, and the first-order methods it is compared with."""

from .acceleration import GeodesicAcceleration
from .damping import Constant, Damping, DampingSearch, DelayedGratification, LevenbergMarquardt
from .factored import FactoredDampingSearch
from .first_order import Adam, GradientDescent
from .local import Along, Local
from .momentum import Momentum, Spring
from .natural_gradient import NaturalGradient
from .objective import Loss, Objective
from .plan import Plan, choose
from .refresh import Drift, Every, Refresh
from .state import State, StepInfo
from .step_size import AveragedModel, Backtracking, Fixed, LearningRate, LineSearch, QuadraticModel, SmoothedModel
from .trust_region import FisherNorm, KLTrustRegion, NormConstraint, TrustRegion

__all__ = [
    "Adam",
    "Along",
    "AveragedModel",
    "Backtracking",
    "Constant",
    "Damping",
    "DampingSearch",
    "DelayedGratification",
    "Drift",
    "Every",
    "FactoredDampingSearch",
    "FisherNorm",
    "Fixed",
    "GeodesicAcceleration",
    "GradientDescent",
    "KLTrustRegion",
    "LearningRate",
    "LevenbergMarquardt",
    "LineSearch",
    "Local",
    "Loss",
    "Momentum",
    "NaturalGradient",
    "NormConstraint",
    "Objective",
    "Plan",
    "QuadraticModel",
    "Refresh",
    "SmoothedModel",
    "Spring",
    "State",
    "StepInfo",
    "TrustRegion",
    "choose",
]
