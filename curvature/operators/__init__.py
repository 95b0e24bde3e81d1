"""Linear operators: a closed algebra of structured matrices."""

from .algebra import add, compose
from .base import Operator
from .block_diagonal import BlockDiagonal
from .conjugate_gradient import conjugate_gradient
from .dense import Dense
from .diagonal import Diagonal
from .kronecker import Kronecker
from .kronecker_eigen import KroneckerEigen
from .matrix_free import MatrixFree
from .open_function import open_function
from .partition import Block, Partition, vector_block

__all__ = [
    "Block",
    "BlockDiagonal",
    "Dense",
    "Diagonal",
    "Kronecker",
    "KroneckerEigen",
    "MatrixFree",
    "Operator",
    "Partition",
    "add",
    "compose",
    "conjugate_gradient",
    "open_function",
    "vector_block",
]
