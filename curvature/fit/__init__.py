"""The training loop: epochs of minibatches for any optimiser of ``curvature.optim``, and a record of what happened."""

from .events import StopTraining, TrainingStep
from .loop import fit
from .minibatches import Minibatches
from .record import Point, Record

__all__ = ["Minibatches", "Point", "Record", "StopTraining", "TrainingStep", "fit"]
