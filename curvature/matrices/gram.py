"""The Gram matrix of the gradients: the side of the examples, also called the neural tangent kernel."""

from __future__ import annotations

from typing import Any

from ..errors import DataError, UnsupportedError
from ..files import pack
from ..operators import Dense
from ..problem import Evaluation, Problem
from ..problem.layer_values import LayerValues
from ..problem.memory import guarded
from ..trees import count, leaves
from .factored_jacobian import FactoredJacobian
from .gauss_newton import GaussNewtonMatrix
from .inner_products import summed_inner_products
from .jacobian import Jacobian

Array = Any

MEMORY = 4 * 2**30
"""Bytes that a Gram matrix and what it is made of may take by default."""


class Gram(Dense):
    """K = J̃ J̃ᵀ (N·R × N·R) of a Fisher-type matrix F = J̃ᵀ J̃, or K = J Jᵀ of the outputs' Jacobian.

    J̃ (N·R, P) has the rows √(w_n · scale) S_nᵀ J_n, example by example, batch after batch. The two matrices have the same
    eigenvalues but for zeros, and (F + λI)⁻¹ J̃ᵀ = J̃ᵀ (K + λI)⁻¹: where N·R < P, this is the smaller side. J̃ is not formed:
    for dense layers K = Σ_l (A_l A_lᵀ) ∘ (G_l G_lᵀ), with A inputs and G output cotangents, and sums over pairs of positions
    where weights are shared. Inputs and cotangents of all batches are held until K is done.

    Args:
        of: ``curvature.Fisher(problem)`` or another Fisher-type matrix; a problem or its ``Jacobian`` for the neural tangent
            kernel J Jᵀ (N·C × N·C), which no weights enter.
        centred: rows of J̃ minus their weighted mean, column by column of S.
        memory: bytes that K, inputs and cotangents may take together.
        array: K, where it is known already.

    Attributes:
        jacobian: J̃ (or J), known by its products: ``gram.jacobian @ v`` and ``gram.jacobian.T @ u``.

    Raises:
        DataError: for anything else, and for ``centred`` without a Fisher-type matrix.
        UnsupportedError: if K, inputs and cotangents would take more than ``memory``.

    Source: Jacot, Gabriel and Hongler (2018); for the inner products, Novak, Sohl-Dickstein and Schoenholz (2022).
    """

    def __init__(self, of: Any, *, centred: bool = False, memory: int = MEMORY, array: Array | None = None) -> None:
        if isinstance(of, GaussNewtonMatrix):
            self.jacobian: Jacobian = FactoredJacobian(of, centred=centred)
        elif not isinstance(of, (Problem, Jacobian)):
            raise DataError(
                f"Gram takes a Fisher-type matrix such as curvature.Fisher(problem), a problem or its Jacobian, got a "
                f"{type(of).__name__}"
            )
        elif centred:
            raise DataError("centred goes with a Fisher-type matrix, which says what an example counts for")
        else:
            self.jacobian = Jacobian(of) if isinstance(of, Problem) else of
        self.problem: Problem = self.jacobian.problem
        if array is None:
            array = _assembled(self.jacobian, memory)
        super().__init__(array, backend=self.problem.backend, symmetric=True)


def _assembled(jacobian: Jacobian, memory: int) -> Array:
    held = _held(jacobian, memory)
    xp = jacobian.xp
    blocks: list[list[Array]] = []
    for i, left in enumerate(held):
        above = [xp.matrix_transpose(blocks[j][i]) for j in range(i)]
        blocks.append(above + [_block(xp, left, right) for right in held[i:]])
    rows = [row[0] if len(row) == 1 else xp.concat(row, axis=1) for row in blocks]
    gram = rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)
    if isinstance(jacobian, FactoredJacobian) and jacobian.centred:
        gram = jacobian.centre(xp.matrix_transpose(jacobian.centre(gram)))
        gram = (gram + xp.matrix_transpose(gram)) / 2
    return gram


def _block(xp: Any, left: list[LayerValues], right: list[LayerValues]) -> Array:
    """The inner products of the gradients of two batches, over all layers."""
    total = summed_inner_products(left, right)
    # Products of an array with itself are symmetric to rounding only.
    return (total + xp.matrix_transpose(total)) / 2 if left is right else total


def _held(jacobian: Jacobian, memory: int) -> list[list[LayerValues]]:
    """Inputs and cotangents of every layer and batch."""
    problem = jacobian.problem
    width = problem.xp.finfo(problem.model.dtype).bits // 8
    held: list[list[LayerValues]] = []
    rows = stored = 0
    for evaluation, share in problem.evaluations():
        with guarded(problem, evaluation.batch):
            factor = _factor(jacobian, evaluation, share)
            rows += int(factor.shape[0]) * int(factor.shape[2])
            _require_memory(rows, stored, rows * rows * width, memory)
            values = evaluation.layers(factor)
        stored += sum(count(array) * width for value in values for array in leaves(value.arrays))
        _require_memory(rows, stored, rows * rows * width, memory)
        held.append(values)
    return held


def _factor(jacobian: Jacobian, evaluation: Evaluation, share: Any) -> Array:
    """What the outputs' Jacobian is multiplied by, (N, C, R)."""
    if isinstance(jacobian, FactoredJacobian):
        factor = jacobian.matrix.output_factor(evaluation)
        return factor if isinstance(share, float) and share == 1.0 else factor * share**0.5
    xp, (n, c) = jacobian.xp, evaluation.outputs.shape
    identity = xp.eye(c, dtype=jacobian.dtype, device=jacobian.backend.device)
    return xp.broadcast_to(identity[None, :, :], (n, c, c))


def _require_memory(rows: int, stored: int, gram: int, memory: int) -> None:
    if stored + gram > memory:
        raise UnsupportedError(
            f"the Gram matrix of {rows} rows so far takes {gram / 1e9:.3g} GB, inputs and cotangents {stored / 1e9:.3g} GB, "
            f"together more than memory={memory} bytes; give fewer examples (or fewer columns: curvature.MonteCarloFisher), "
            f"raise memory, or stay on the side of the parameters, curvature.approximate(A, 'kfac')"
        )


@pack.dispatch
def _pack(operator: Gram) -> Any:
    raise UnsupportedError(
        "a Gram belongs to a problem, which no file holds; save its matrix, curvature.operators.Dense(gram.array), and give it "
        "back as curvature.Gram(matrix, array=...)"
    )
