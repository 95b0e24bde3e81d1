"""Linear operators: a closed algebra of structured matrices."""

from . import low_rank_algebra, stacked_algebra  # noqa: F401  (they add methods to add, compose and inner)
from .algebra import add, compose
from .base import Operator
from .block_diagonal import BlockDiagonal
from .damping import check_damping, is_zero
from .dense import Dense
from .diagonal import Diagonal
from .entry_partition import EntryPartition
from .inner import inner
from .kronecker import Kronecker
from .kronecker_congruence import KroneckerCongruence
from .kronecker_eigen import KroneckerEigen
from .kronecker_sum import KroneckerSum
from .low_rank import LowRank
from .low_rank_plus_diagonal import LowRankPlusDiagonal
from .matrix_free import MatrixFree
from .open_function import open_function
from .partition import Block, Partition, vector_block
from .product import Product
from .stacked_blocks import StackedBlocks
from .sum import Sum

__all__ = [
    "Block",
    "BlockDiagonal",
    "Dense",
    "Diagonal",
    "EntryPartition",
    "Kronecker",
    "KroneckerCongruence",
    "KroneckerEigen",
    "KroneckerSum",
    "LowRank",
    "LowRankPlusDiagonal",
    "MatrixFree",
    "Operator",
    "Partition",
    "Product",
    "StackedBlocks",
    "Sum",
    "add",
    "check_damping",
    "compose",
    "inner",
    "is_zero",
    "open_function",
    "vector_block",
]
