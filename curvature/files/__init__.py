"""Neutral files of operators and trees of arrays, which every backend reads.

A file is a safetensors file: every array under a readable name, and in its metadata

- ``format``: ``curvature``,
- ``format_version``: a whole number; a file of a newer one is refused,
- ``library_version``: who wrote it,
- ``structure``: what the arrays make up, as JSON (see ``values``),
- ``sha256``: the digest of the whole file but these 64 digits.

Nothing in it is code, and nothing is imported or run on its behalf.
"""

from .packing import pack, unpack
from .reading import load
from .writing import save

__all__ = ["load", "pack", "save", "unpack"]
