"""How every parameter enters a model, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .problem import Problem
    from .structure import Layer

_MEANING = {
    "affine": "s = W a + b: Kronecker factors",
    "grouped": "the same in groups: Kronecker factors, A averaged over the groups",
    "embedding": "s = a row of W: Kronecker factors, A diagonal",
    "scale": "s = w ∘ x + b: gradients of each example in closed form",
    "shift": "a vector added: gradients of each example in closed form",
    "mixed": "several of these: gradients of each example in closed form",
    "general": "not recognised: gradients of each example one by one, correct and slow",
}


@dataclass(frozen=True)
class UsesReport:
    """The layers of a model, as ``problem.uses()`` gives them. ``print`` shows a table.

    Attributes:
        layers: every layer, each parameter in exactly one.
        shapes: shape of every parameter.
        unused: parameters that do not enter the model.
    """

    layers: tuple[Layer, ...]
    shapes: dict[str, tuple[int, ...]]
    unused: tuple[str, ...]

    @classmethod
    def of(cls, problem: Problem) -> UsesReport:
        """The report of a problem (found on its first batch)."""
        structure = problem.structure
        shapes = dict(zip(structure.space.names, structure.space.shapes, strict=True))
        return cls(structure.layers, shapes, structure.unused)

    @property
    def general(self) -> dict[str, str]:
        """{parameter: reason} of those that enter in a way which is not recognised."""
        found = [layer for layer in self.layers if layer.kind == "general" and layer.weight not in self.unused]
        return {layer.weight: layer.reason for layer in found}

    @property
    def kinds(self) -> dict[str, str]:
        """{parameter: kind of its layer}."""
        return {name: layer.kind for layer in self.layers for name in layer.parameters}

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "shape", "used", ""), *(self._row(layer) for layer in self.layers)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows]
        count = len(self.general)
        lines.append(f"{len(self.layers)} layers, " + (f"{count} on the general path" if count else "all recognised"))
        return "\n".join(lines)

    def _row(self, layer: Layer) -> tuple[str, ...]:
        shape = " + ".join(str(self.shapes[name]) for name in layer.parameters)
        used = "" if layer.kind == "general" else f"{len(layer.uses)} ×"
        return (
            layer.name,
            layer.kind,
            shape,
            "never" if layer.weight in self.unused else used,
            layer.reason or _MEANING[layer.kind],
        )
