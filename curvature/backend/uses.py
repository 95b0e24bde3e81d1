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
    """One use of a parameter as (part of) an affine map ``s = a W + b``.

    Attributes:
        kind: ``"linear"`` (a weight, perhaps with a bias) or ``"shift"`` (a vector that is added).
        parameter: path of the weight (``linear``) or of the vector (``shift``).
        bias: path of the vector that is added to the same output, if any (``linear`` only).
        inputs: a, shape (N, *positions, d_in); None for ``shift``.
        matrix_shape: shape of the weight, seen as a matrix in row-major order; (1, d_out) for ``shift``.
        transposed: False if that matrix is (d_in, d_out), s = a W; True if (d_out, d_in), s = a Wᵀ.
    """

    kind: Literal["linear", "shift"]
    parameter: str
    bias: str | None
    inputs: Array | None
    matrix_shape: tuple[int, int]
    transposed: bool = False


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
