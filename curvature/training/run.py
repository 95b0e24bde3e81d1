"""One run: from a snapshot to the end of the last epoch, or as far as it gets."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..optim import StepInfo
from ..problem import Batch, Problem
from .callbacks import Callbacks
from .checkpoint import Checkpoint
from .evaluation import Evaluation
from .events import StopTraining, TrainingStep
from .failure import NUMERICAL, REJECTED, NumbersFailed
from .minibatches import Minibatches
from .optimizer import Optimizer
from .record import Point, Record
from .snapshot import Snapshot


class Run:
    """A run that is under way.

    Args:
        snapshot: where it stands.
        problem: model, likelihood and training data.
        optimizer: what takes the steps.
        minibatches: what it takes them on.
        epochs: how many passes over the data.
        evaluation: what is evaluated after each.
        callbacks: who follows.
        checkpoint: where it is kept, or None.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        problem: Problem,
        optimizer: Optimizer,
        minibatches: Minibatches,
        epochs: int,
        evaluation: Evaluation,
        callbacks: Callbacks,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.snapshot = snapshot
        # Before the last step whose loss was finite: where the numbers are known to be good.
        self._good: Snapshot | None = None
        self._problem = problem
        self._optimizer = optimizer
        self._minibatches = minibatches
        self._epochs = epochs
        self._evaluation = evaluation
        self._callbacks = callbacks
        self._checkpoint = checkpoint

    def record(self) -> Record:
        """Train, and say what happened."""
        interrupted, error = False, None
        try:
            try:
                self._train()
            except KeyboardInterrupt:
                interrupted = True
            except StopTraining as request:
                self.snapshot = replace(self.snapshot, stopped=str(request))
            except NumbersFailed as failure:
                error = str(failure)
                self._go_back()
            self._write()
        except BaseException as failure:
            error = error or repr(failure)  # for those who follow; whoever called fit gets the failure itself
            raise
        finally:
            self._callbacks.end(self.snapshot.record(interrupted=interrupted, error=error))
        return self.finished(interrupted=interrupted, error=error)

    def finished(self, *, interrupted: bool = False, error: str | None = None) -> Record:
        """The record, with a point for the steps since the last one, or for the start where even that is missing.

        The snapshot, from which the run may go on, does not get this point: it lies within an epoch.
        """
        at, record = self.snapshot, self.snapshot.record(interrupted=interrupted, error=error)
        if not record.curve or record.final.step != record.steps:
            try:
                record.curve.append(self._evaluation.point(at, at.epoch))
            except NUMERICAL:
                if error is None:
                    raise
                # What ended the run is in the way of this, too; the error says what it was.
                record.curve.append(Point(at.epoch, at.step, at.seconds, math.nan))
        return record

    def _train(self) -> None:
        if self._checkpoint is not None and not self.snapshot.step:
            # What cannot be kept, or not there, is found before there is anything to lose.
            self._write()
        if not self.snapshot.curve:
            self.snapshot = replace(self.snapshot, curve=(self._evaluation.point(self.snapshot, 0),))
        self._callbacks.start(self.snapshot.record())
        while self.snapshot.epoch < self._epochs:
            self._epoch()

    def _epoch(self) -> None:
        at = self.snapshot
        before = at.step - at.in_epoch
        ends = self._minibatches.ends(before)
        batches = self._minibatches.epoch(at.epoch + 1, before=before, skip=at.in_epoch)
        while (batch := self._next(batches)) is not None:
            info = self._step(batch)
            now = self.snapshot
            share = ends[now.in_epoch - 1] / ends[-1] if ends else 0.0
            progress = min(1.0, (now.epoch + share) / self._epochs)
            self._callbacks.step(TrainingStep(now.step, now.epoch + 1, info.loss, info, now.seconds, progress))
            if self._checkpoint is not None and now.step % self._checkpoint.every == 0:
                self._write()
        self._end_epoch()

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        try:
            return next(batches, None)
        except NUMERICAL as error:
            # Data that was sound when the run began: what was learnt until now is kept.
            raise NumbersFailed(f"{_place(self.snapshot, 1)}: {error}") from error

    def _step(self, batch: Batch) -> StepInfo:
        at = self.snapshot
        # An optimiser may treat the problem's own data otherwise than a sample of it.
        data: Any = None if batch is self._problem.data.single else batch
        start = time.perf_counter()
        try:
            params, state, info = self._optimizer.step(at.params, at.state, data)
        except NUMERICAL as error:
            # Optimisers count steps from 0, and the place is said already.
            message = re.sub(r"^step \d+: ", "", str(error))
            raise NumbersFailed(f"{_place(at, 1)}: {message}") from error
        self._problem.backend.synchronize()
        seconds = at.seconds + time.perf_counter() - start
        finite = math.isfinite(info.loss)
        if info.accepted and not finite:
            raise NumbersFailed(f"{_place(at, 1)}: the loss is {info.loss}")
        if finite:
            # Without a file to write it to, the state before is not worth the memory that it takes.
            self._good = at if self._checkpoint is not None else replace(at, state=None)
        self.snapshot = replace(
            at,
            params=params,
            state=state,
            step=at.step + 1,
            in_epoch=at.in_epoch + 1,
            rejected=0 if finite else at.rejected + 1,
            seconds=seconds,
        )
        if self.snapshot.rejected >= REJECTED:
            raise NumbersFailed(f"{_place(at, 1)}: three steps in a row left the numbers; the loss is {info.loss}")
        return info

    def _end_epoch(self) -> None:
        at = self.snapshot
        point = self._evaluation.point(at, at.epoch + 1)
        if not math.isfinite(point.loss):
            raise NumbersFailed(f"{_place(at, 0)}: the training loss is {point.loss} after it")
        self.snapshot = replace(at, epoch=at.epoch + 1, in_epoch=0, curve=(*at.curve, point))
        self._callbacks.epoch(self.snapshot.record())

    def _go_back(self) -> None:
        """To the last parameters at which the loss is finite.

        They are the present ones where an example of the minibatch is to blame, and those before the last step where that step
        was too long.
        """
        if self._good is not None and not self._evaluation.is_finite(self.snapshot):
            self.snapshot = self._good
        self.snapshot = replace(self.snapshot, rejected=0)

    def _write(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.write(self.snapshot)


def _place(at: Snapshot, ahead: int) -> str:
    """The step (``ahead`` of the snapshot) and its minibatch, for people: all counted from 1."""
    return f"step {at.step + ahead} (epoch {at.epoch + 1}, minibatch {at.in_epoch + ahead})"
