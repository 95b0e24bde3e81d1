"""The end of a run that no longer gets better."""

from __future__ import annotations

from ..errors import DataError
from .events import StopTraining, TrainingStep
from .record import Point, Record
from .schedule import is_positive_integer


class EarlyStopping:
    """Stop once ``patience`` epochs in a row have not improved on the best one before them by more than ``minimum_change``.

    It has no memory but the curve of the record, so that a run that goes on from a checkpoint stops where it would have.

    Args:
        monitor: "loss" for that of the training data, "test loss", or the name of a metric.
        patience: how many epochs.
        minimum_change: what counts as an improvement must be larger.
        maximise: whether more is better, as for an accuracy.

    Raises:
        DataError: if ``patience`` is no positive integer or ``minimum_change`` negative; when a run begins, if it does not
            evaluate ``monitor``.
    """

    def __init__(self, monitor: str = "loss", *, patience: int = 5, minimum_change: float = 0.0, maximise: bool = False) -> None:
        if not is_positive_integer(patience):
            raise DataError(f"patience is a positive integer, got {patience!r}")
        if not minimum_change >= 0:
            raise DataError(f"minimum_change is a number ≥ 0, got {minimum_change!r}")
        self.monitor = monitor
        self.patience = patience
        self.minimum_change = minimum_change
        self.maximise = maximise

    def __call__(self, event: TrainingStep) -> None:
        """Steps say nothing: each is on a minibatch of its own."""

    def on_start(self, record: Record) -> None:
        """Refuse what is not evaluated; and a run that had come to its end when it was interrupted ends here."""
        self.on_epoch(record)

    def on_epoch(self, record: Record) -> None:
        """Look at the curve so far."""
        best, waited = self._value(record.curve[0]), 0
        for point in record.curve[1:]:
            value = self._value(point)
            if value < best - self.minimum_change:
                best, waited = value, 0
            else:
                waited += 1
        if waited >= self.patience:
            shown = -best if self.maximise else best
            margin = f" by more than {self.minimum_change:g}" if self.minimum_change else ""
            raise StopTraining(f"{self.monitor} has not improved on {shown:.4g}{margin} in {waited} epochs")

    def _value(self, point: Point) -> float:
        """What is to become small."""
        known = {"loss": point.loss} | {"test loss" if name == "loss" else name: value for name, value in point.test.items()}
        if self.monitor not in known:
            raise DataError(
                f"EarlyStopping monitors {self.monitor!r}, and this run evaluates {', '.join(map(repr, known))}; give fit the "
                "data as test= and the function in metrics="
            )
        return -known[self.monitor] if self.maximise else known[self.monitor]
