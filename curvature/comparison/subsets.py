"""Some of the examples of a problem, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError
from ..problem import Problem
from ..trees import tree_map

Array = Any


def subset(problem: Problem, total: int, examples: int, seed: int) -> Problem:
    """The same problem on so many of its ``total`` examples, as one batch; weights go with them.

    Raises:
        DataError: if all of those have weight zero.
    """
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 0x73756273])))
    chosen = np.sort(generator.permutation(total)[:examples])
    xp, parts, start = problem.xp, [], 0
    for batch in problem.batches():
        here = chosen[(chosen >= start) & (chosen < start + batch.size)] - start
        start += batch.size
        if here.size:
            rows = problem.backend.asarray(here)
            x = None if batch.x is None else tree_map(lambda a, rows=rows: xp.take(a, rows, axis=0), batch.x)
            weights = None if batch.weights is None else xp.take(batch.weights, rows, axis=0)
            parts.append((x, xp.take(batch.y, rows, axis=0), weights))
    if not parts:
        raise DataError("the data yields fewer examples than in the pass before: it must start afresh each time")
    return problem.at(data=parts[0] if len(parts) == 1 else _joined(problem, parts))


def _joined(problem: Problem, parts: list[Any]) -> Any:
    xp = problem.xp
    xs, ys, weights = zip(*parts, strict=True)
    x = None if xs[0] is None else tree_map(lambda *arrays: xp.concat(list(arrays), axis=0), *xs)
    y = xp.concat(list(ys), axis=0)
    if all(w is None for w in weights):
        return x, y, None
    ones = [xp.ones((int(part.shape[0]),), dtype=problem.model.dtype, device=problem.backend.device) for part in ys]
    return x, y, xp.concat([one if w is None else w for one, w in zip(ones, weights, strict=True)], axis=0)
