"""Curvature of models on every array library: Fisher information, Hessian, Gauss-Newton and their approximations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .approximation import (
    Approximation,
    Certificate,
    Cost,
    Detail,
    LayerLayout,
    Layout,
    MovingAverage,
    approximate,
    build,
    certificate,
    estimate,
)
from .backend import (
    ArrayBackend,
    Backend,
    Claim,
    ParameterUses,
    Rng,
    Support,
    Use,
    namespace,
)
from .errors import (
    BackendUnavailableError,
    ContainerWarning,
    ConvergenceError,
    CurvatureError,
    CurvatureWarning,
    DataError,
    DensifiedWarning,
    DeviceMemoryError,
    DifferentiationError,
    EstimatedWarning,
    FallbackWarning,
    FileFormatError,
    IncompatiblePluginError,
    MissingFileError,
    MixedBackendError,
    ModelError,
    NotPositiveDefiniteError,
    NotSymmetricError,
    PluginConflictError,
    PluginLoadError,
    PluginWarning,
    PrecisionError,
    ShapeError,
    SingularMatrixError,
    UnknownApproximationError,
    UnknownBackendError,
    UnknownKindError,
    UnsupportedError,
    UnusedParameterWarning,
)
from .files import load, save
from .hookspecs import hookimpl
from .likelihoods import (
    Bernoulli,
    Categorical,
    Exponential,
    Gamma,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    Poisson,
    VonMises,
)
from .matrices import GGN, EmpiricalFisher, Fisher, GaussNewtonMatrix, Gram, Hessian, Jacobian, MonteCarloFisher
from .operators import Operator
from .optim import Backtracking, Constant, LevenbergMarquardt, NaturalGradient, QuadraticModel
from .problem import Batch, Model, Problem, Structure, as_model, outputs_of
from .registry import (
    ApproximationSpec,
    BackendSpec,
    approximation,
    approximations,
    backend,
    backend_of,
    backends,
    register,
    unregister,
)
from .trees import ParameterSpace

if TYPE_CHECKING:
    from . import linalg, nn, optim
    from .comparison import Comparison, Suggestion, compare, suggest

__version__ = "0.1.0"

__all__ = [
    "GGN",
    "Approximation",
    "ApproximationSpec",
    "ArrayBackend",
    "Backend",
    "BackendSpec",
    "BackendUnavailableError",
    "Backtracking",
    "Batch",
    "Bernoulli",
    "Categorical",
    "Certificate",
    "Claim",
    "Comparison",
    "Constant",
    "ContainerWarning",
    "ConvergenceError",
    "Cost",
    "CurvatureError",
    "CurvatureWarning",
    "DataError",
    "DensifiedWarning",
    "Detail",
    "DeviceMemoryError",
    "DifferentiationError",
    "EmpiricalFisher",
    "EstimatedWarning",
    "Exponential",
    "FallbackWarning",
    "FileFormatError",
    "Fisher",
    "Gamma",
    "GaussNewtonMatrix",
    "Gaussian",
    "Gram",
    "Hessian",
    "HeteroscedasticGaussian",
    "IncompatiblePluginError",
    "Jacobian",
    "LayerLayout",
    "Layout",
    "LevenbergMarquardt",
    "Likelihood",
    "MissingFileError",
    "MixedBackendError",
    "Model",
    "ModelError",
    "MonteCarloFisher",
    "MovingAverage",
    "NaturalGradient",
    "NotPositiveDefiniteError",
    "NotSymmetricError",
    "Operator",
    "ParameterSpace",
    "ParameterUses",
    "PluginConflictError",
    "PluginLoadError",
    "PluginWarning",
    "Poisson",
    "PrecisionError",
    "Problem",
    "QuadraticModel",
    "Rng",
    "ShapeError",
    "SingularMatrixError",
    "Structure",
    "Suggestion",
    "Support",
    "UnknownApproximationError",
    "UnknownBackendError",
    "UnknownKindError",
    "UnsupportedError",
    "UnusedParameterWarning",
    "Use",
    "VonMises",
    "approximate",
    "approximation",
    "approximations",
    "as_model",
    "backend",
    "backend_of",
    "backends",
    "build",
    "certificate",
    "compare",
    "estimate",
    "hookimpl",
    "linalg",
    "load",
    "namespace",
    "nn",
    "optim",
    "outputs_of",
    "register",
    "save",
    "suggest",
    "unregister",
]

_LATER = {
    "Comparison": "comparison",
    "Suggestion": "comparison",
    "compare": "comparison",
    "suggest": "comparison",
    "linalg": "linalg",
    "nn": "nn",
    "optim": "optim",
}
"""What is imported when it is first asked for: name, module."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    return module if name == _LATER[name] else getattr(module, name)
