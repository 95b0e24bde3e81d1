"""What an approximation costs: counted from the shapes of the layers, in floating-point operations and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..matrices import CurvatureMatrix

EIGH = 18.0
"""An eigendecomposition with vectors of an n × n matrix takes as long as EIGH · n³ operations of a matrix product: about 9 n³
of its own (Golub and Van Loan 2013, §8.3), half of them in products of matrices with vectors, which wait for the memory."""

FACTOR = 4.0
"""Cholesky and QR decompositions take this many times as long as their operations would in a matrix product."""

TALL = 20.0
"""The same of a QR decomposition of a matrix with many more rows than columns, which waits for the memory."""

ELEMENTWISE = 50.0
"""Reading a number and writing another takes as long as this many operations of a matrix product: about 1 ns."""

GRAM = 1.4
"""Share of the 2 n d² operations of aᵀ a, over 2, that a product which knows its symmetry takes: half of them, and some."""


class Detail(IntEnum):
    """How much of a matrix an approximation keeps: the order of expected errors, where none are measured."""

    MATRIX = 0
    """All of it."""
    COUPLED_LAYERS = 1
    """Blocks of layers, and what couples neighbours."""
    LAYER_BLOCKS = 2
    """The block of each layer."""
    FITTED_FACTORS = 3
    """A Kronecker product for each layer, or eigenvalues in its basis, fitted to the block."""
    FACTORS = 4
    """A Kronecker product for each layer, of separate expectations."""
    LOW_RANK = 5
    """A few eigenvectors."""
    DIAGONAL = 6
    """The diagonal."""
    UNKNOWN = 7
    """Nobody said."""


@dataclass(frozen=True)
class Cost:
    """What one approximation of one matrix takes.

    Attributes:
        flops_statistics: of ``estimate``, all passes over the data included.
        flops_build: of ``build``, with what is put off until the first ``solve`` (factorisations).
        flops_solve: of a further ``solve`` of one vector.
        bytes: of the arrays that the new operator holds.
        bytes_solving: of further arrays that it holds once it has solved.
        detail: how much of the matrix it keeps.
    """

    flops_statistics: float
    flops_build: float
    flops_solve: float
    bytes: int
    bytes_solving: int = 0
    detail: Detail = Detail.UNKNOWN

    @property
    def flops(self) -> float:
        """From the data to the first solution."""
        return self.flops_statistics + self.flops_build + self.flops_solve


@dataclass(frozen=True)
class LayerLayout:
    """The shapes of one layer.

    Attributes:
        name, kind: see ``curvature.problem.Layer``.
        d_in: inputs (of one group, where there are groups), with the 1 of a bias; rows of an embedding; 1 of a vector.
        d_out: outputs, of all groups.
        positions: T, how often an example passes it.
        size: parameters.
        bias: whether it has one.
        parameters: size of each of its parameter arrays.
    """

    name: str
    kind: str
    d_in: int
    d_out: int
    positions: int
    size: int
    bias: bool = False
    parameters: tuple[int, ...] = ()

    @property
    def is_matrix(self) -> bool:
        """Whether it is a linear map, so that Kronecker products stand for it."""
        return self.kind in ("affine", "grouped", "embedding")

    @property
    def is_unshared(self) -> bool:
        """Whether each example passes it once."""
        return self.kind == "affine" and self.positions == 1

    def forward(self, examples: int) -> float:
        """Operations of the map for so many examples."""
        if self.kind not in ("affine", "grouped", "general"):
            return 2.0 * examples * self.positions * self.d_out
        return 2.0 * examples * self.positions * self.size


@dataclass(frozen=True)
class Layout:
    """The shapes of a problem and of the matrix that is to be approximated: all that ``Approximation.cost`` is told.

    Attributes:
        layers: in the order of the structure.
        parameters: P.
        examples: N, in all batches.
        batches: how many there are.
        outputs: C.
        columns: R, of the output factor; 0 for a matrix that has none, such as a Hessian.
        itemsize: bytes of a number.
        is_single: whether the data is one batch, which is evaluated once for several passes.
        overhead: how much longer a pass over the data takes than its products of matrices would; measured.
    """

    layers: tuple[LayerLayout, ...]
    parameters: int
    examples: int
    batches: int
    outputs: int
    columns: int
    itemsize: int
    is_single: bool = True
    overhead: float = 1.0

    @property
    def is_gauss_newton(self) -> bool:
        """Whether the matrix is a sum of squares of gradients."""
        return self.columns > 0

    @property
    def rows(self) -> int:
        """N · R, the gradients of all examples and columns."""
        return self.examples * self.columns

    def nbytes(self, numbers: int) -> int:
        """Bytes of so many numbers."""
        return numbers * self.itemsize

    # Passes over the data -----------------------------------------------------------------------------

    @property
    def forward(self) -> float:
        """One forward pass."""
        return self.overhead * sum(layer.forward(self.examples) for layer in self.layers)

    @property
    def backward(self) -> float:
        """The cotangents of all layers for one column: the first layer's inputs need none."""
        rest = self.layers[1:] if len(self.layers) > 1 else self.layers
        return self.overhead * sum(layer.forward(self.examples) for layer in rest)

    @property
    def gradient(self) -> float:
        """Loss and gradient: forwards, cotangents, and the product of cotangents and inputs."""
        return 2.0 * self.forward + self.backward

    @property
    def repeated_product(self) -> float:
        """A product with a vector whose forward pass was done: a tangent forwards and a cotangent backwards."""
        return 2.0 * self.forward + 2.0 * self.backward

    @property
    def product(self) -> float:
        """A product with a vector."""
        return self.forward + self.repeated_product

    @property
    def layer_values(self) -> float:
        """Inputs and cotangents of every layer and column: a forward and R backward passes."""
        return self.forward + self.columns * self.backward

    @property
    def squared_gradients(self) -> float:
        """The diagonal of a sum of squares of gradients: without these where each example passes a layer once."""
        total = self.layer_values
        for layer in self.layers:
            repeats = 1 if layer.is_unshared else self.columns
            total += repeats * layer.forward(self.examples) + self.elementwise(self.columns * self.examples * layer.d_out)
        return total

    @property
    def gradients(self) -> float:
        """The gradients of every example and column, N · R · P numbers."""
        formed = self.columns * sum(layer.forward(self.examples) for layer in self.layers)
        return self.layer_values + formed + self.elementwise(self.rows * self.parameters)

    def products(self, count: float) -> float:
        """Products with so many vectors, for which one forward pass serves."""
        return self.forward + count * self.repeated_product

    # Linear algebra -----------------------------------------------------------------------------------

    @staticmethod
    def gram(rows: float, d: float) -> float:
        """aᵀ a of a (rows, d)."""
        return GRAM * rows * d * d

    @staticmethod
    def eigh(n: float) -> float:
        """An eigendecomposition."""
        return EIGH * n**3

    @staticmethod
    def cholesky(n: float) -> float:
        """A Cholesky decomposition."""
        return FACTOR * n**3 / 3.0

    @staticmethod
    def qr(rows: float, columns: float) -> float:
        """A reduced QR decomposition, its Q formed."""
        return (TALL if rows > 8 * columns else FACTOR) * 4.0 * rows * columns**2

    @staticmethod
    def elementwise(numbers: float) -> float:
        """Reading and writing so many numbers."""
        return ELEMENTWISE * numbers


def layout_of(matrix: CurvatureMatrix) -> Layout:
    """The shapes of a matrix's problem, from one example."""
    from ..matrices import GaussNewtonMatrix

    problem = matrix.problem
    xp, examples, batches, first = problem.xp, 0, 0, None
    for batch in problem.batches():
        first = batch if first is None else first
        examples, batches = examples + batch.size, batches + 1
    assert first is not None
    evaluation = problem.evaluate(first.part(slice(0, 1)))
    outputs = int(evaluation.outputs.shape[1])
    seed = xp.ones((1, outputs, 1), dtype=evaluation.outputs.dtype, device=problem.backend.device)
    values = {value.layer.name: value for value in evaluation.layers(seed)}
    layers = tuple(_layer(layer, values[layer.name], problem.space) for layer in problem.structure.layers)
    columns = matrix.columns(first) if isinstance(matrix, GaussNewtonMatrix) else 0
    itemsize = int(xp.finfo(matrix.dtype).bits) // 8
    single = problem.data.single is not None
    return Layout(layers, problem.space.size, examples, batches, outputs, columns, itemsize, single)


def _layer(layer: Any, values: Any, space: Any) -> LayerLayout:
    sizes = tuple(space.sizes[leaf] for leaf in layer.block.leaves)
    size, positions = layer.block.size, 1
    d_in, d_out = 1, size
    if layer.kind not in ("mixed", "general"):
        positions = values.positions
    if layer.kind in ("affine", "grouped"):
        rows, columns = layer.block.shape
        d_out, d_in = (rows, columns) if layer.transposed else (columns, rows)
    elif layer.kind == "embedding":
        d_in, d_out = layer.block.shape
    elif layer.kind == "scale":
        d_out = sizes[0]
    return LayerLayout(layer.name, layer.kind, d_in, d_out, positions, size, layer.bias is not None, sizes)
