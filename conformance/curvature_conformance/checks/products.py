"""Products of the approximation, its symmetry and its definiteness."""

from __future__ import annotations

from ..case import Case
from ..checklist import check
from ..failures import CheckFailure, expect
from ..scenario import FISHER_TYPE
from ..setting import leaves
from .matrices import require_positive


@check("approximation", "products")
def vectors_matrices_and_trees(case: Case) -> None:
    """A @ v is to_dense() times v for a vector, a matrix and a tree of parameters, and a tree comes back as a tree."""
    operator = case.approximation()
    dense, v, several = case.dense(operator), case.vector(1), case.vectors(3, seed=2)
    causes = "the blocks' layout taken for the flat order, a weight stored (d_out, d_in), factors in the wrong order"
    case.close(operator @ case.array(v), dense @ v, "A @ vector", formula="to_dense() @ vector", causes=causes)
    case.close(operator @ case.array(several), dense @ several, "A @ matrix", formula="to_dense() @ matrix", causes=causes)
    tree = operator @ case.as_tree(v)
    shapes, expected = [tuple(leaf.shape) for leaf in leaves(tree)], [leaf.shape for leaf in leaves(case.scenario.params)]
    expect(shapes == expected, "A @ tree", f"arrays of shapes {shapes}", formula=f"those of the parameters, {expected}")
    flat = case.array(case.setting.flat(tree))
    case.close(flat, dense @ v, "A @ tree, flat", formula="to_dense() @ vector", causes=causes)


@check("approximation", "products")
def symmetric_and_positive(case: Case) -> None:
    """The approximation of a Fisher-type matrix is symmetric and positive semidefinite."""
    for name in FISHER_TYPE:
        require_positive(case, case.dense(case.approximation(name)), f"the approximation of the {name}")


@check("approximation", "products", applies=lambda case: case.scenario.is_plain)
def blocks(case: Case) -> None:
    """block(name) is the diagonal block of that parameter."""
    operator, space = case.approximation(), case.problem.space
    dense = case.dense(operator)
    for index, name in enumerate(space.names):
        rows = slice(space.offsets[index], space.offsets[index + 1])
        try:
            block = operator.block(name).to_dense()
        except Exception as error:
            raise CheckFailure(
                f"block({name!r})", f"{type(error).__name__}: {error}", formula="the block of a parameter"
            ) from error
        case.close(
            block,
            dense[rows, rows],
            f"block({name!r})",
            formula="that diagonal block of to_dense()",
            causes="offsets of another parameter, or the layout of a joined block taken for the flat order",
        )


@check("approximation", "products", applies=lambda case: case.scenario.is_plain)
def to_the_host_and_back(case: Case) -> None:
    """The operator moved to another backend and back is the same operator."""
    operator, backend = case.approximation(), case.setting.backend
    dense = case.dense(operator)
    same = operator.to(backend)
    case.close(same.to_dense(), dense, "A.to(its own backend)", formula="A")
    host = operator.to("numpy")
    expect(host.backend.name == "numpy", 'A.to("numpy").backend', host.backend.name, formula="numpy")
    back = host.to(backend)
    case.close(
        back.to_dense(), dense, 'A.to("numpy").to(backend)', formula="A", causes="arrays that are not passed through map_arrays"
    )
    expect(back.structure == operator.structure, "its structure", back.structure, formula=operator.structure)
