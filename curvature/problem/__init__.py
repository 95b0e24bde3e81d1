"""What is being differentiated: models, batches of data, and the problem that joins them with a likelihood."""

from .batch import Batch, Data
from .evaluation import Evaluation
from .layer_values import LayerValues
from .model import Model, as_model
from .problem import Problem
from .returned import outputs_of
from .structure import Layer, Layers, Structure

__all__ = [
    "Batch",
    "Data",
    "Evaluation",
    "Layer",
    "LayerValues",
    "Layers",
    "Model",
    "Problem",
    "Structure",
    "as_model",
    "outputs_of",
]
