"""What a training run says after every step, and how it is told to stop."""

from __future__ import annotations

from dataclasses import dataclass

from ..optim import StepInfo


@dataclass(frozen=True)
class TrainingStep:
    """One step of ``fit``, as callbacks and the hook ``curvature_training_step`` receive it.

    Attributes:
        step: steps taken so far, from 1.
        epoch: the epoch that the step belongs to, from 1.
        loss: objective before the step on the step's own minibatch (``info.loss``).
        info: everything else that the optimiser says of the step.
        seconds: time spent in steps so far; evaluation and callbacks do not count.
        progress: share of the run that is done, from 0 to 1 (by whole epochs where their length is not known beforehand).
    """

    step: int
    epoch: int
    loss: float
    info: StepInfo
    seconds: float
    progress: float


class StopTraining(Exception):
    """Raise it in a callback or in a ``curvature_training_step`` hook to end the run after this step; say why in its message.

    The run is then finished: its checkpoint does not go on. To end one that shall go on later, raise ``KeyboardInterrupt``.
    """
