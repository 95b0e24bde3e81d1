"""What a backend reports about the way in which parameters enter a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Array = Any
Tree = Any


@dataclass(frozen=True)
class Use:
    """One use of a parameter as (part of) a map that is affine in it. With N examples and any number of positions:

    ============= ====================== ================================ ==========================
    kind          s                      inputs                           d_out
    ============= ====================== ================================ ==========================
    ``linear``    a W + b                a (N, *positions, d_in)          columns of W
    ``scale``     x ∘ w + b              x (N, *positions, size)          size
    ``embedding`` rows of W              their numbers (N, *positions)    columns of W
    ``shift``     base + b               None                             size
    ============= ====================== ================================ ==========================

    The parameter is W, w or b (``shift``), each seen in row-major order: w and b as vectors of ``size`` entries, whatever
    their shape (a table of positions that is added to all examples is a shift of T · d entries at one position).
    A convolution is ``linear``, its inputs being the patches that its kernel meets.

    Attributes:
        kind: how it enters.
        parameter: its path.
        bias: path of the vector that is added to the same output, if any (``linear`` and ``scale`` only).
        inputs: see above.
        matrix_shape: W as a matrix in row-major order; (1, size) for ``scale`` and ``shift``.
        transposed: of ``linear``: False if that matrix is (d_in, d_out), s = a W; True if (d_out, d_in), s = a Wᵀ.
        groups: of ``linear``: the outputs of group g, d_out / groups of them, see only the inputs of group g. Inputs and
            outputs of a group lie together: a is (N, *positions, groups · d_in), W has d_in rows (columns if transposed).
        entries: None, or integers (rows · columns of ``matrix_shape``,): what enters is not the parameter itself but an
            array of that size made of its entries with these positions in row-major order (a slice of it, say).
    """

    kind: Literal["linear", "scale", "embedding", "shift"]
    parameter: str
    bias: str | None
    inputs: Array | None
    matrix_shape: tuple[int, int]
    transposed: bool = False
    groups: int = 1
    entries: Array | None = None


class ParameterUses(ABC):
    """Uses of all parameters in one evaluation f(params, x), with a handle for output cotangents.

    It is what ``Backend.parameter_uses(f, params, x)`` returns. Nothing in here is trusted blindly: the core
    checks once for each model that the uses are complete and that examples lie on the first axis.

    Attributes:
        outputs: f(params, x), free of any tracing.
        uses: the recognised uses.
        unrecognised: path -> reason, for parameters that (also) enter in any other way. Such a parameter may
            have uses too; they are then incomplete and the core ignores them.
        unused: paths of the parameters that did not enter at all.
    """

    outputs: Array
    uses: tuple[Use, ...]
    unrecognised: Mapping[str, str]
    unused: tuple[str, ...]

    @abstractmethod
    def cotangents(self, seeds: Array) -> Sequence[Array]:
        """Pull R output cotangents back to the output of every use.

        Args:
            seeds: cotangents of ``outputs``, shape (R, *outputs.shape).

        Returns:
            for each use, in order, g of shape (R, N, *positions, d_out). (A use that the outputs do not depend on
            has zeros.) May be called several times.
        """

    @abstractmethod
    def pull(self, seed: Array) -> Tree:
        """Jᵀ seed: pull one cotangent of ``outputs`` (same shape) back to a params tree. May be called several times."""

    @abstractmethod
    def pull_both(self, seed: Array) -> tuple[Tree, Sequence[Array]]:
        """``pull(seed)`` and ``cotangents(seed[None])`` from one backward pass."""
