"""Views of a parameter that have an axis of examples: whatever they go into, the parameter enters where they are made.

A class token that is expanded over the examples is a shift (of nothing), and rows that are looked up for each example are
an embedding, whether they are then added, concatenated or normalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .arrangement import candidates
from .recording import Recorder
from .records import Key, Record


def promote(
    recorder: Recorder, live: Sequence[Record], left: Sequence[Key], n: int, device: torch.device
) -> tuple[list[Record], list[Key]]:
    """Records with those of such views that explain what was left unexplained, and what still is."""
    source_of = {made: source for source, made in recorder.made_views}
    found: dict[Key, Record] = {}
    for key in left:
        place: Key | None = key
        while place is not None and place not in found:
            record = record_of_examples(recorder, place, n, device)
            if record is not None:
                found[place] = record
            place = None if record is not None else source_of.get(place)
    covered = set(found)
    for source, made in recorder.made_views:  # sources come before what is made of them
        if source in covered:
            covered.add(made)
            found.pop(made, None)
    kept = [record for record in live if not any(key in covered for key in record.arguments)]
    return kept + list(found.values()), [key for key in left if key not in covered]


def record_of_examples(recorder: Recorder, key: Key, n: int, device: torch.device) -> Record | None:
    """How the parameter enters where the view was made, if the view has an axis of N examples."""
    edge = recorder.view_edges.get(key)
    if edge is None:
        return None
    view = recorder.views[key]
    if view.lookup is not None:
        record = Record("embedding", view, [])
    else:
        once, own = view.unrepeated(device)
        record = Record("shift", once, [], features=own)
    record.edge, record.shape = edge, view.shape
    return record if candidates(record.shape, record.own_axes, n) else None
