"""What the measurement of couplings found, for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .plan import Plan

SHOWN = 12
"""How many pairs a printed report lists."""


@dataclass(frozen=True)
class CouplingReport:
    """The coupling between blocks, and how much of it a block-diagonal approximation throws away.

    Attributes:
        names: of the B blocks that were measured.
        squared: estimates of ‖F_ij‖², B × B.
        standard_error: of each.
        groups: which of them share a block of the approximation.
        discarded: the share of ‖F‖² that lies outside of the approximation's blocks.
        discarded_error: its standard error.
        probes: random vectors for each block.
        products: how many products it took.
        plan: the partition, to be given as ``partition=``.
    """

    names: tuple[str, ...]
    squared: tuple[tuple[float, ...], ...]
    standard_error: tuple[tuple[float, ...], ...]
    groups: tuple[tuple[str, ...], ...]
    discarded: float
    discarded_error: float
    probes: int
    products: int
    plan: Plan = field(repr=False)

    @property
    def kept(self) -> float:
        """The share of ‖F‖² that lies in the approximation's blocks, with the standard error of ``discarded``."""
        return 1.0 - self.discarded

    def coupling(self, first: str, second: str) -> tuple[float, float]:
        """(‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖), its standard error) of two blocks; at most 1 for a positive semidefinite matrix."""
        return self._coupling(self.names.index(first), self.names.index(second))

    def _coupling(self, i: int, j: int) -> tuple[float, float]:
        off, one, two = self.squared[i][j], self.squared[i][i], self.squared[j][j]
        if min(off, one, two) <= 0:
            return 0.0, 0.0
        value = off**0.5 / (one * two) ** 0.25
        relative = [
            power * self.standard_error[a][b] / self.squared[a][b] for power, a, b in ((0.5, i, j), (0.25, i, i), (0.25, j, j))
        ]
        return value, value * sum(part**2 for part in relative) ** 0.5

    def __str__(self) -> str:
        count = len(self.names)
        group = {name: number for number, names in enumerate(self.groups) for name in names}
        pairs = [(*self._coupling(i, j), self.names[i], self.names[j]) for i in range(count) for j in range(i + 1, count)]
        pairs.sort(key=lambda pair: -pair[0])
        lines = [f"coupling ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖) of {count} blocks, {self.probes} probes, {self.products} products"]
        for value, error, one, two in pairs[:SHOWN]:
            verdict = "kept" if group[one] == group[two] else "discarded"
            lines.append(f"  {value:.3f} ± {error:.3f}  {verdict:<9}  {one} – {two}")
        if len(pairs) > SHOWN:
            lines.append(f"  … {len(pairs) - SHOWN} more pairs, none above {pairs[SHOWN][0]:.3f}")
        lines.append("blocks:")
        for place, form, m in zip(self.plan.partition.blocks, self.plan.forms, self.plan.sizes, strict=True):
            kind = f"{m} × {m}" if form.number == 1 else "diagonal" if m == 1 else f"{form.number} blocks of {m} × {m}"
            lines.append(f"  {place.name} ({kind})")
        lines.append(f"discarded: {self.discarded:.2%} ± {self.discarded_error:.2%} of ‖F‖²")
        return "\n".join(lines)


def of_samples(
    names: tuple[str, ...], samples: Any, within: Any | None, groups: tuple[tuple[str, ...], ...], products: int, plan: Plan
) -> CouplingReport:
    """The report of samples ‖F_ij z_j‖² (S, B, B), on the host.

    Args:
        within: what the approximation leaves out inside of each block, ‖(F_jj - B_jj) z_j‖², (S, B); None for nothing.
        groups: names of the blocks that share one.
    """
    samples = np.asarray(samples, dtype=np.float64)
    probes = samples.shape[0]
    mean, variance = samples.mean(axis=0), samples.var(axis=0, ddof=1) / probes
    # Row and column are two estimates of one number.
    squared, error = (mean + mean.T) / 2, np.sqrt(variance + variance.T) / 2
    # Where they are one and the same, on the diagonal, there is no second one.
    np.fill_diagonal(error, np.sqrt(np.diag(variance)))
    number = {name: position for position, members in enumerate(groups) for name in members}
    labels = np.array([number[name] for name in names])
    outside = np.sum(samples * (labels[:, None] != labels[None, :]), axis=1)
    if within is not None:
        outside = outside + np.asarray(within, dtype=np.float64)
    discarded, discarded_error = _share(outside, np.sum(samples, axis=1))
    return CouplingReport(names, _rows(squared), _rows(error), groups, discarded, discarded_error, probes, products, plan)


def _share(part: Any, whole: Any) -> tuple[float, float]:
    """(Σ_j E part / Σ_j E whole, its standard error) from samples (S, B), by the delta method: probes are independent."""
    total = float(whole.mean(axis=0).sum())
    if total == 0:
        return 0.0, 0.0
    ratio = float(part.mean(axis=0).sum()) / total
    variance = (part - ratio * whole).var(axis=0, ddof=1).sum() / part.shape[0]
    return ratio, float(variance**0.5) / total


def _rows(matrix: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
