"""The training loop: epochs of minibatches for any optimiser of ``curvature.optim``, and a record of what happened."""

from .callbacks import Callback
from .early_stopping import EarlyStopping
from .events import StopTraining, TrainingStep
from .loop import fit
from .minibatches import Minibatches
from .optimizer import Optimizer
from .progress_bar import ProgressBar
from .record import Point, Record
from .schedule import GrowingBatch

__all__ = [
    "Callback",
    "EarlyStopping",
    "GrowingBatch",
    "Minibatches",
    "Optimizer",
    "Point",
    "ProgressBar",
    "Record",
    "StopTraining",
    "TrainingStep",
    "fit",
]
