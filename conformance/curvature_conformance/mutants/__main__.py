"""``python -m curvature_conformance.mutants``: plant all defects on a backend, or write the page of what catches what."""

from __future__ import annotations

import argparse
import sys

import curvature as cv

from . import all_mutants
from .table import page


def main() -> int:
    """The exit code: 0 if every defect was caught."""
    parser = argparse.ArgumentParser(prog="python -m curvature_conformance.mutants", description=__doc__)
    parser.add_argument("--backend", default="numpy", help="where they are planted (numpy)")
    parser.add_argument("--table", action="store_true", help="print the page docs/mutants.md; takes minutes")
    options = parser.parse_args()
    backend, mutants = cv.backend(options.backend, dtype="float64"), all_mutants()
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    if options.table:
        done = iter(range(1, len(mutants) + 1))
        sys.stdout.write(page(mutants, backend, lambda: print(f"\r{next(done)} of {len(mutants)}", end="", file=sys.stderr)))
        return 0
    escaped = 0
    for mutant in mutants:
        if backend.name in mutant.impossible:
            print(f"- {mutant.name}: not planted: {mutant.impossible[backend.name]}")
            continue
        reason = mutant.escapes(backend)
        escaped += bool(reason)
        print(f"✗ {mutant.name}: {reason}" if reason else f"✓ {mutant.name}: {mutant.check}")
    print(f"{escaped} of {len(mutants)} escaped")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
