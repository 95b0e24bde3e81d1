"""The file from which a run goes on.

It is a file of ``curvature.save``, which ``curvature.load`` reads as well::

    {"identity": {name: text}, "counters": {"step", "epoch", …, "curve"}, "params": {name: array}, "optimizer": its state,
     "axes": [order in memory of each array of "params" and "optimizer", in flat order]}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, FileFormatError, UnsupportedError
from ..files.container import Stored, opened, write
from ..files.decoding import Decoder, check_arrays, widened
from ..files.encoding import Encoder
from ..problem import Problem
from ..trees import flatten, unflatten
from .identity import differences, identity
from .layout import axes_of, from_memory_order, in_memory_order
from .minibatches import Minibatches
from .optimizer import resumable
from .schedule import is_positive_integer
from .snapshot import Snapshot

SHOWN = 6
"""Differences that an error lists."""


class Checkpoint:
    """The checkpoint of one run.

    Args:
        path: the file.
        every: steps from one writing to the next.
        problem: model, likelihood and training data.
        optimizer: an optimiser with ``state_dict`` and ``load_state_dict``.
        minibatches: the order of the data.

    Raises:
        UnsupportedError: if the optimiser lacks these methods.
        DataError: if ``every`` is no positive integer.
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int, problem: Problem, optimizer: Any, minibatches: Minibatches
    ) -> None:
        self._optimizer = resumable(optimizer)
        if not is_positive_integer(every):
            raise DataError(f"checkpoint_every is a positive integer, got {every!r}")
        self.path = Path(path)
        self.every = every
        self._problem = problem
        self._identity = identity(problem, optimizer, minibatches)

    def write(self, snapshot: Snapshot) -> None:
        """Put the snapshot in the place of what the file held; at any interruption that is still there.

        Raises:
            UnsupportedError, PrecisionError: if the optimiser's state holds what no file keeps.
            OSError: if the file cannot be written.
        """
        arrays = self._problem.space.flatten(snapshot.params)
        kept = {
            "params": dict(zip(self._problem.space.names, arrays, strict=True)),
            "optimizer": self._optimizer.state_dict(snapshot.state),
        }
        leaves, treespec = flatten(kept)
        axes = [axes_of(leaf) for leaf in leaves]
        kept = unflatten(treespec, map(in_memory_order, leaves, axes))
        encoder = Encoder()
        structure = encoder.value({"identity": self._identity, "counters": snapshot.counters(), "axes": axes, **kept})
        if encoder.notes:
            raise UnsupportedError(f"the state of {type(self._optimizer).__name__} cannot be kept: {encoder.notes[0]}")
        write(self.path, structure, encoder.arrays)

    def read(self) -> Snapshot:
        """The snapshot that the file holds.

        Raises:
            FileFormatError: if it is no checkpoint, or damaged.
            DataError: if it is that of another run (what differs), or something else that was saved.
        """
        try:
            with opened(self.path) as stored:
                dtypes = check_arrays(stored.structure, stored.arrays)
                self._refuse_others(stored)
                arrays = {name: self._array(stored.read(name), dtype) for name, dtype in dtypes.items()}
            return self._snapshot(Decoder(arrays, self._problem.backend).value(stored.structure))
        except FileFormatError as error:
            raise FileFormatError(f"cannot go on from a checkpoint: {error}; resume=False starts anew and replaces it") from error

    def _array(self, values: Any, dtype: str) -> Any:
        # A copy: what is read from the file lies at any address, and fast kernels may round by alignment.
        return self._problem.backend.asarray(np.array(widened(values, dtype)), dtype=dtype)

    def _refuse_others(self, stored: Stored) -> None:
        """Before any array is read: another model's may not even have a dtype that this backend knows."""
        items = stored.structure.get("items", []) if isinstance(stored.structure, dict) else []
        nodes = {item[0]: item[1] for item in items if isinstance(item, list) and len(item) == 2}
        then = Decoder({}, self._problem.backend).value(nodes.get("identity"))
        if not isinstance(then, Mapping) or not {"counters", "axes", "params", "optimizer"} <= set(nodes):
            raise DataError(f"{self.path} is no checkpoint of curvature.fit; give another path, or resume=False to replace it")
        found = differences(then, self._identity)
        if found:
            more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
            raise DataError(
                f"{self.path} is the checkpoint of another run: {'; '.join(found[:SHOWN])}{more}. Call fit as it was called then "
                "to go on, or start anew: with another file, or with resume=False, which replaces this one"
            )

    def _snapshot(self, tree: Any) -> Snapshot:
        leaves, treespec = flatten({"params": tree["params"], "optimizer": tree["optimizer"]})
        if len(leaves) != len(tree["axes"]):
            raise FileFormatError(f"{self.path} does not say how its arrays lie")
        kept = unflatten(treespec, map(from_memory_order, leaves, tree["axes"]))
        params = self._problem.space.unflatten([kept["params"][name] for name in self._problem.space.names])
        state = self._optimizer.load_state_dict(self._problem, kept["optimizer"])
        return Snapshot.of(params, state, tree["counters"])
