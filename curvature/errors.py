"""Every error and warning of the library: each names the thing, the cause and the remedy."""

from __future__ import annotations

from typing import Any


class CurvatureError(Exception):
    """Base of all errors that this library raises on purpose."""


# Plugins and names -------------------------------------------------------------------------------


class BackendUnavailableError(CurvatureError, ImportError):
    """A registered backend cannot be used: its framework is missing or has no device."""


class UnknownBackendError(CurvatureError, LookupError):
    """No backend of that name is registered."""


class UnknownApproximationError(CurvatureError, LookupError):
    """No approximation of that name is registered."""


class IncompatiblePluginError(CurvatureError, ImportError):
    """A plugin was written for another version of the plugin interface."""


class PluginConflictError(CurvatureError):
    """Two distributions claim one name."""


class PluginLoadError(CurvatureError, ImportError):
    """A plugin's module raised while it was loaded."""


class UnsupportedError(CurvatureError, NotImplementedError):
    """The thing asked for cannot be had here; the message says why and what to use instead."""


# Arrays -------------------------------------------------------------------------------------------


class PrecisionError(CurvatureError, ValueError):
    """The precision asked for is not available."""


class MixedBackendError(CurvatureError, TypeError):
    """Arrays of two libraries or of two devices met in one call."""


class ShapeError(CurvatureError, ValueError):
    """An array or tree has the wrong shape or structure."""


class DifferentiationError(CurvatureError, NotImplementedError):
    """A function has no derivative rule, or none exists."""


class DeviceMemoryError(CurvatureError, MemoryError):
    """The memory of a device does not hold what was asked for; the message says how much would fit."""


# Data and models ----------------------------------------------------------------------------------


class DataError(CurvatureError, ValueError):
    """Data that cannot be what was meant: NaN, an empty batch, labels out of range."""


class DivergedError(DataError):
    """An objective that is no longer finite.

    Attributes:
        params: the last good parameters.
    """

    params: Any = None


class ModelError(CurvatureError, ValueError):
    """A model that does not do what its place asks: outputs of the wrong shape, coupled examples."""


# Files --------------------------------------------------------------------------------------------


class FileFormatError(CurvatureError, ValueError):
    """A file that was not written by ``curvature.save``, is damaged, or is of a newer version."""


class MissingFileError(FileFormatError, FileNotFoundError):
    """There is no file of that name."""


class UnknownKindError(CurvatureError, LookupError):
    """A file holds a kind of operator that nobody here knows; the message says who wrote it."""


# Linear algebra -----------------------------------------------------------------------------------


class NotSymmetricError(CurvatureError, ValueError):
    """The operation is defined for symmetric operators only."""


class NotPositiveDefiniteError(CurvatureError, ValueError):
    """The operation needs a positive (semi)definite operator and this one is not."""


class SingularMatrixError(NotPositiveDefiniteError):
    """The operator is singular to working precision; the message names a damping that would do."""


class ConvergenceError(CurvatureError, ArithmeticError):
    """An iteration did not reach its tolerance."""


# Warnings -----------------------------------------------------------------------------------------


class CurvatureWarning(UserWarning):
    """Base of all warnings of this library."""


class PluginWarning(CurvatureWarning):
    """A third-party plugin failed to load and is left out."""


class DensifiedWarning(CurvatureWarning):
    """An operation lost the structure of its operands and built a dense matrix."""


class EstimatedWarning(CurvatureWarning):
    """A number was estimated from random probes, since its exact value would need the dense matrix of a large operator."""


class ContainerWarning(CurvatureWarning):
    """A container of a tree cannot be kept in a file; a plain one with the same leaves in the same order stands for it."""


class UnusedParameterWarning(CurvatureWarning):
    """Some parameters do not enter the model: their rows of any curvature matrix are zero."""


class FallbackWarning(CurvatureWarning):
    """A parameter enters the model in a way that has no structured path; a general one is used."""
