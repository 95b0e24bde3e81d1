"""Sweeps over the data, shared by all methods that ask for one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from typing import Any

from ..errors import DataError
from ..problem.memory import guarded
from ..trees import ParameterSpace, count, leaves, tree_map

Tree = Any
Request = Callable[[Any], Tree]


def driven(matrix: Any, methods: Sequence[Generator[Request, Tree, Tree]], sweep: Sweep | None = None) -> list[Tree]:
    """The statistics of several methods that run side by side, one sweep over the data for all of their requests.

    A method yields functions of an ``Evaluation``, is sent their averages over the data, and returns the statistics.

    Args:
        sweep: passes that are open already, and stay so.
    """
    results: list[Tree] = [None] * len(methods)
    running, replies = dict(enumerate(methods)), dict.fromkeys(range(len(methods)))
    with ExitStack() as stack:
        while running:
            requests: dict[int, Request] = {}
            for position, generator in list(running.items()):
                try:
                    requests[position] = generator.send(replies[position])
                except StopIteration as finished:
                    results[position] = finished.value
                    del running[position]
            if requests:
                if sweep is None:  # only now: not every matrix has data to sweep over
                    sweep = stack.enter_context(Sweep(matrix))
                replies = dict(zip(requests, sweep.averages(list(requests.values())), strict=True))
    return results


class Sweep:
    """Passes over the data of a matrix. What several requests need of a batch is computed once; a single batch is kept from
    one pass to the next.
    """

    def __init__(self, matrix: Any) -> None:
        problem = getattr(matrix, "problem", None)
        if problem is None:
            raise DataError(
                f"a {type(matrix).__name__} belongs to no problem, so there is no data to sweep over; approximate a matrix such "
                f"as curvature.Fisher(problem)"
            )
        self.problem = problem
        self._kept: list[tuple[Any, Any]] = []

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *error: object) -> None:
        for evaluation, _ in self._kept:
            evaluation.forget()

    def evaluations(self) -> Any:
        """(evaluation, share of the total weight) of every batch."""
        if self.problem.data.single is None:
            return self.problem.evaluations()
        if not self._kept:
            self._kept = list(self.problem.evaluations())
        return self._kept

    def averages(self, requests: Sequence[Request]) -> list[Tree]:
        """The average over the data of each request.

        Raises:
            DataError: naming the statistic and the batch where one is NaN or infinite.
        """
        totals: list[Tree] = [None] * len(requests)
        for evaluation, share in self.evaluations():
            evaluation.share(len(requests))
            with guarded(self.problem, evaluation.batch):
                values = [request(evaluation) for request in requests]
            for position, value in enumerate(values):
                part = value if isinstance(share, float) and share == 1.0 else tree_map(lambda a, s=share: a * s, value)
                before = totals[position]
                totals[position] = part if before is None else tree_map(lambda a, b: a + b, before, part)
        for request, total in zip(requests, totals, strict=True):
            if not_finite(self.problem.backend, total):
                self._blame(request)
        return totals

    def _blame(self, request: Request) -> None:
        """Find the batch whose contribution is not finite, now that it is known that there is one."""
        for evaluation, _ in self.evaluations():
            name = not_finite(self.problem.backend, request(evaluation))
            if name:
                raise DataError(finite_message(name, self.problem.model.dtype, evaluation.batch.index))
        raise DataError(finite_message("their sum over the batches", self.problem.model.dtype))


def not_finite(backend: Any, statistics: Tree) -> str:
    """The name of the first array that holds NaN or infinities; "" if none does, or if none has values yet."""
    xp = backend.xp
    for name, array in zip(ParameterSpace.names_of(statistics), leaves(statistics), strict=True):
        if backend.is_abstract(array) or not count(array) or not xp.isdtype(array.dtype, "real floating"):
            continue
        if not bool(xp.isfinite(xp.sum(array))) and bool(xp.any(~xp.isfinite(array))):
            return name or "the statistic"
    return ""


def finite_message(name: str, dtype: Any, batch: int | None = None) -> str:
    """What is said of a statistic that is not finite."""
    where = "" if batch is None else f" of batch {batch}"
    return (
        f"the statistics{where} are NaN or infinite ({name}): the parameters or data have grown out of the range of {dtype}; "
        f"statistics gathered before are as they were"
    )
