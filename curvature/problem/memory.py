"""What to do where the memory of a device does not hold a batch: say which size would fit, and keep nothing."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import DeviceMemoryError
from .batch import Batch

if TYPE_CHECKING:
    from .problem import Problem


@contextmanager
def guarded(problem: Problem, batch: Batch) -> Iterator[None]:
    """Around work on one batch.

    Raises:
        DeviceMemoryError: in place of the library's own error, naming the number of examples whose gradient fits. All that
            was allocated is free again.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DeviceMemoryError) or not problem.backend.is_out_of_memory(error):
            raise
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        # The frames of the error hold on to the arrays that were made before it.
        traceback.clear_frames(error.__traceback__)
    else:
        return
    raise DeviceMemoryError(_explained(problem, batch, said))


def _explained(problem: Problem, batch: Batch, said: str) -> str:
    n, device = batch.size, problem.backend.device
    where = f"backend {problem.backend.name!r}" + ("" if device is None else f" on {device}")
    found = _fitting(problem, batch)
    what = f"batch {batch.index} with {n} examples does not fit the memory of {where} ({said})"
    if found == 0:
        return f"{what}, nor does a single example: use a smaller model, float32, or a device with more memory"
    return f"{what}; {found} examples at a time do: give the data as a list of batches of at most {found}"


def _fitting(problem: Problem, batch: Batch) -> int:
    """The largest of N/2, N/4, … examples whose loss and gradient can be taken; 0 if not even one."""
    size = batch.size // 2
    while size:
        part = batch.part(slice(0, size))
        try:
            problem.backend.value_and_gradient(problem.loss_of(part), problem.params)
        except Exception as error:
            if not problem.backend.is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
            size //= 2
        else:
            return size
    return 0
