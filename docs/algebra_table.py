"""The page on the algebra of operators: which operation of which structure is exact, what it costs, what sums keep.

    python docs/algebra_table.py > docs/algebra.md

Whether an operation is exact is found by running it; costs are stated here, and every exact operation must have one.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import (
    BlockDiagonal,
    Dense,
    Diagonal,
    Kronecker,
    KroneckerSum,
    LowRank,
    MatrixFree,
    Product,
    StackedBlocks,
    Sum,
)

N = 6
DAMPING = 0.3

OPERATIONS: dict[str, Callable[[cv.Operator], Any]] = {
    "A @ v": lambda a: a @ np.ones(N),
    "solve": lambda a: a.solve(np.ones(N)),
    "solve, damped": lambda a: a.solve(np.ones(N), damping=DAMPING),
    "power, damped": lambda a: a.power(0.5, DAMPING) @ np.ones(N),
    "sample": lambda a: a.sample(a.backend.rng(0), 2, damping=DAMPING),
    "logdet": lambda a: a.logdet(),
    "logdet, damped": lambda a: a.logdet(DAMPING),
    "trace": lambda a: a.trace(),
    "diagonal": lambda a: a.diagonal(),
    "norm": lambda a: a.norm(),
    "norm(2)": lambda a: a.norm(2),
    "eigh(k)": lambda a: a.eigh(2),
}
METHODS = {
    "solve": "conjugate gradients",
    "solve, damped": "conjugate gradients",
    "power, damped": "Lanczos",
    "sample": "Lanczos",
    "logdet": "≈ quadrature",
    "logdet, damped": "≈ quadrature",
    "trace": "≈ XTrace",
    "diagonal": "≈ XDiag",
    "norm": "≈ XTrace",
    "norm(2)": "Lanczos",
    "eigh(k)": "Lanczos",
}
"""What is done of a large operator where its structure does not help."""


def _spd(rng: Any, n: int) -> Any:
    a = rng.standard_normal((n, n))
    return a @ a.T + np.eye(n)


def _free(rng: Any) -> cv.Operator:
    array = _spd(rng, N)
    return MatrixFree(lambda v: array @ v, N, dtype=array.dtype, backend=cv.backend("numpy"))


def _low_rank(rng: Any) -> LowRank:
    return LowRank(np.linalg.qr(rng.standard_normal((N, 2)))[0], np.array([3.0, 2.0]))


STRUCTURES: dict[str, Callable[[Any], cv.Operator]] = {
    "dense": lambda rng: Dense(_spd(rng, N)),
    "diagonal": lambda rng: Diagonal(rng.uniform(1, 2, N)),
    "block-diagonal": lambda rng: BlockDiagonal([Dense(_spd(rng, 4)), Diagonal(rng.uniform(1, 2, 2))]),
    "stacked-blocks": lambda rng: StackedBlocks(np.stack([_spd(rng, 3), _spd(rng, 3)])),
    "kronecker": lambda rng: Kronecker([_spd(rng, 2), _spd(rng, 3)]),
    "kronecker-eigen": lambda rng: Kronecker([_spd(rng, 2), _spd(rng, 3)]).eigenbasis(),
    "kronecker-sum": lambda rng: KroneckerSum([[_spd(rng, 2), _spd(rng, 3)] for _ in range(2)]),
    "kronecker-congruence": lambda rng: STRUCTURES["kronecker-sum"](rng).inverse(),
    "low-rank": _low_rank,
    "low-rank-plus-diagonal": lambda rng: _low_rank(rng) + Diagonal(rng.uniform(1, 2, N)),
    "sum": lambda rng: Sum([Kronecker([_spd(rng, 2), _spd(rng, 3)]), Diagonal(rng.uniform(1, 2, N))]),
    "product": lambda rng: Product(Kronecker([_spd(rng, 2), _spd(rng, 3)]), Diagonal(rng.uniform(1, 2, N))),
    "matrix-free": _free,
}
"""One operator of each structure."""

_FACTORS, _RANKS = "P Σnᵢ", "P Σrᵢ"
COSTS: dict[str, dict[str, str]] = {
    "dense": dict.fromkeys(OPERATIONS, "P³") | {"A @ v": "P²", "trace": "P", "diagonal": "P", "norm": "P²"},
    "diagonal": dict.fromkeys(OPERATIONS, "P") | {"eigh(k)": "P log P"},
    "block-diagonal": dict.fromkeys(OPERATIONS, "Σ blocks"),
    "stacked-blocks": dict.fromkeys(OPERATIONS, "P m²") | {"A @ v": "P m", "trace": "P", "diagonal": "P", "norm": "P m"},
    "kronecker": dict.fromkeys(OPERATIONS, f"Σnᵢ³ + {_FACTORS}")
    | {"A @ v": _FACTORS, "logdet": "Σnᵢ³ + P", "logdet, damped": "Σnᵢ³ + P", "trace": "Σnᵢ", "diagonal": "P", "norm": "Σnᵢ²"}
    | {"norm(2)": "Σnᵢ³", "eigh(k)": "Σnᵢ³ + P k"},
    "kronecker-eigen": dict.fromkeys(OPERATIONS, _RANKS)
    | {"logdet": "Πrᵢ", "logdet, damped": "Πrᵢ", "trace": "Πrᵢ", "norm": "Πrᵢ", "norm(2)": "Πrᵢ", "eigh(k)": "Πrᵢ + P k"},
    "kronecker-sum": {
        "A @ v": f"R {_FACTORS}",
        "solve": f"Σnᵢ³ + {_FACTORS}",
        "logdet": "Σnᵢ³ + P",
        "trace": "R Σnᵢ",
        "diagonal": "R P",
        "norm": "R² Σnᵢ²",
    },
    "kronecker-congruence": {
        "A @ v": _FACTORS,
        "solve": f"Σnᵢ³ + {_FACTORS}",
        "logdet": "Σnᵢ³ + P",
        "trace": "Σnᵢ² + P",
        "diagonal": _FACTORS,
        "norm": f"Σnᵢ³ + {_FACTORS}",
    },
    "low-rank": dict.fromkeys(OPERATIONS, "P k")
    | {"logdet": "k", "logdet, damped": "k", "trace": "k", "norm": "k", "norm(2)": "k", "eigh(k)": "P k"},
    "low-rank-plus-diagonal": dict.fromkeys(OPERATIONS, "P k²") | {"A @ v": "P k", "trace": "P k", "diagonal": "P k"},
    "sum": dict.fromkeys(OPERATIONS, "Σ terms") | {"norm": "pairs of terms"},
    "product": {"A @ v": "both", "solve": "both", "trace": "<Aᵀ, B>"},
    "matrix-free": {"A @ v": "1 product"},
}
"""Of an exact operation, to leading order, decompositions that are kept for the next time included."""


@contextmanager
def _watched() -> Any:
    """A list that gets every operation that the structure of an operator does not know."""
    seen: list[str] = []
    fallback, iterative = cv.Operator._fallback, MatrixFree._solve

    def noted(self: cv.Operator, operation: str) -> Any:
        seen.append(operation)
        return fallback(self, operation)

    def solved(self: MatrixFree, v: Any, damping: Any) -> Any:
        seen.append("solve")
        return iterative(self, v, damping)

    cv.Operator._fallback, MatrixFree._solve = noted, solved  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cv.CurvatureWarning)
            yield seen
    finally:
        cv.Operator._fallback, MatrixFree._solve = fallback, iterative  # type: ignore[method-assign]


def cell(structure: str, operation: str) -> str:
    """Exact and at what cost, or how a large operator of the structure is treated."""
    operator = STRUCTURES[structure](np.random.default_rng(0))
    with _watched() as seen:
        try:
            OPERATIONS[operation](operator)
        except (cv.SingularMatrixError, cv.NotSymmetricError) as refused:
            return "singular" if isinstance(refused, cv.SingularMatrixError) else "not symmetric"
    return METHODS[operation] if seen else f"**{COSTS[structure][operation]}**"


def _pairs(combine: Callable[[cv.Operator, cv.Operator], cv.Operator]) -> list[list[str]]:
    """The structure of the result of every pair; in italics where a structure is lost."""
    rows = []
    for left in STRUCTURES:
        row = [left]
        for right in STRUCTURES:
            rng = np.random.default_rng(0)
            a, b = STRUCTURES[left](rng), STRUCTURES[right](rng)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = combine(a, b)
            lost = any(issubclass(w.category, cv.DensifiedWarning) for w in caught)
            row.append(f"*{result.structure}*" if lost else result.structure)
        rows.append(row)
    return rows


def page() -> str:
    """The page in Markdown."""
    operations = _table(
        ["structure", *OPERATIONS],
        [[structure, *(cell(structure, operation) for operation in OPERATIONS)] for structure in STRUCTURES],
    )
    head = ["A \\ B", *STRUCTURES]
    return f"""# The algebra of operators

*Generated by `python docs/algebra_table.py > docs/algebra.md`; a test compares the two.*

Every operator has every operation. Bold: exact, with the number of operations to leading order. P rows, nᵢ the sizes of
Kronecker factors and rᵢ the columns of their bases, R terms, rank k, stacked blocks of size m. Decompositions (the cubes) are
kept for the next time. Anything else is not in the structure: up to 5000 rows (2000 if matrix-free) the dense matrix is made,
exactly, with a `DensifiedWarning`; of larger operators solves are conjugate gradients and powers are Lanczos', both to working
precision, and ≈ is an estimate from random probes, with an `EstimatedWarning` that says how good it is. `curvature.linalg` has
the same estimates to any tolerance, with error bars, a seed and a progress bar.

`inverse` and `power(-1)` cost what `solve` does; `to_dense`, `block`, `A.T`, `c * A` and `A.to(backend)` are exact for all.
A low-rank matrix has no inverse without damping, and a product is seldom symmetric: what needs eigenvalues refuses it.

{operations}

## Sums

A + B. In italics: neither structure is kept, with a `DensifiedWarning`.

{_table(head, _pairs(lambda a, b: a + b))}

Further structure is kept for particular values: a Kronecker product plus a multiple of the identity is `kronecker-eigen`, two
operators with the same eigenbases add in it, and block-diagonal operators add block by block where their partitions agree.

## Products

A @ B.

{_table(head, _pairs(lambda a, b: a @ b))}
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(page())
