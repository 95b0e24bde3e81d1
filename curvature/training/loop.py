"""``fit``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..problem import Problem
from .callbacks import Callback, Callbacks
from .checkpoint import Checkpoint
from .evaluation import Evaluation, Metric
from .minibatches import Minibatches
from .optimizer import Optimizer
from .progress_bar import ProgressBar
from .record import Record
from .run import Run
from .schedule import BatchSize, is_positive_integer
from .snapshot import Snapshot


def fit(
    problem: Problem,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int | BatchSize | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    test: Any = None,
    metrics: Mapping[str, Metric] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    resume: bool = True,
    progress: bool = False,
) -> Record:
    """Train the model of ``problem`` from its parameters.

    With a checkpoint the run can be ended at any moment, by Ctrl-C or by a failure of the machine, and the same call takes it up
    from there. It then ends where it would have ended, to the last bit, on the same machine and as far as the library of the
    arrays is deterministic. Data in batches must come in the same order each time: a ``DataLoader`` that shuffles does not.
    More ``epochs`` than before prolong a run.

    Args:
        problem: model, likelihood and training data.
        optimizer: an optimiser of ``curvature.optim``, or anything with its ``init`` and ``step``. A checkpoint needs its
            ``state_dict`` and ``load_state_dict``, too.
        epochs: passes over the data.
        batch_size: examples in a minibatch, None for all, or a function such as ``GrowingBatch`` (see ``Minibatches``).
        seed: seed of the shuffles: the same minibatches on every backend.
        callbacks: each is called with a ``TrainingStep`` after every step, after the hook ``curvature_training_step`` of the
            plugins, and may have methods for other moments (see ``Callback``): ``EarlyStopping``, ``ProgressBar``, or a function
            of yours. Any may raise ``StopTraining``.
        test: data to evaluate beside the training data.
        metrics: name → function (outputs (N, C), targets) -> number, evaluated on ``test``.
        checkpoint: file in which the run is kept: its start, every ``checkpoint_every`` steps, and its end. It is replaced
            whole or not at all.
        checkpoint_every: steps from one writing of the checkpoint to the next.
        resume: go on from the checkpoint if there is one; a run that is finished returns its record at once. False starts anew.
        progress: show a progress bar.

    Returns:
        A ``Record``, also where the run ended early: by Ctrl-C (``interrupted``), by ``StopTraining`` (``stopped``), or because
        the loss was no longer finite, a matrix no longer positive definite, or three steps in a row left the numbers and were
        taken back by the optimiser (``error``).

    Raises:
        DataError: if an argument cannot be; if the checkpoint is that of another model, optimiser, data size, order or version
            of the library, or of more ``epochs``.
        UnsupportedError: for a checkpoint with an optimiser whose state cannot be kept.
        FileFormatError: if the checkpoint is damaged.
        OSError: if it cannot be written; what it held before is still there.
        ModuleNotFoundError: for a progress bar without rich.
    """
    if not is_positive_integer(epochs):
        raise DataError(f"epochs is a positive integer, got {epochs!r}")
    minibatches = Minibatches(problem, batch_size, seed=seed)
    followers = Callbacks(callbacks, progress_bar=ProgressBar() if progress else None)
    kept = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every, problem, optimizer, minibatches)
    found = kept.read() if kept is not None and resume and kept.path.exists() else None
    if found is not None and (found.epoch, found.in_epoch) > (epochs, 0):
        raise DataError(
            f"{checkpoint} is in epoch {found.epoch + 1} already, beyond epochs={epochs}; ask for more, or start anew with "
            "resume=False"
        )
    run = Run(
        Snapshot(problem.params, optimizer.init(problem)) if found is None else found,
        problem=problem,
        optimizer=optimizer,
        minibatches=minibatches,
        epochs=epochs,
        evaluation=Evaluation(problem, test, metrics),
        callbacks=followers,
        checkpoint=kept,
    )
    finished = found is not None and (found.stopped is not None or found.epoch == epochs)
    return run.finished() if finished else run.record()
