"""How many threads linear algebra on the host uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads(limit: int | None) -> Iterator[None]:
    """Let BLAS and OpenMP use at most ``limit`` threads while the block runs; None changes nothing."""
    if limit is None:
        yield
        return
    # It comes with scikit-learn.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    with threadpool_limits(limits=limit):
        yield
