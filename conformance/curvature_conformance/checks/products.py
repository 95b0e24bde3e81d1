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
    """block(name) is the diagonal block of that parameter, or of the layer to which it belongs."""
    operator, space, setting = case.approximation(), case.problem.space, case.setting
    dense = case.dense(operator)
    tried: set[str] = set()
    for index, name in enumerate(space.names):
        try:
            block, rows = operator.block(name), slice(space.offsets[index], space.offsets[index + 1])
            expected = dense[rows, rows]
        except Exception as error:
            layer = next(part for part in case.problem.structure.layers if index in part.block.leaves)
            if layer.name == name:
                raise CheckFailure(
                    f"block({name!r})", f"{type(error).__name__}: {error}", formula="the block of a parameter"
                ) from error
            tried.add(layer.name)
            block, name = operator.block(layer.name), layer.name
            # Positions of the block's rows in the flat order, in the block's own layout.
            place = case.problem.structure.partition
            order = setting.xp.reshape(setting.xp.arange(case.size, dtype=setting.xp.int64, device=setting.device), (-1, 1))
            rows_of = dict(zip((b.name for b in place.blocks), place.gather(setting.xp, order), strict=True))
            positions = setting.numpy(rows_of[layer.name])[:, 0]
            expected = dense[positions][:, positions]
        case.close(
            block.to_dense(),
            expected,
            f"block({name!r})",
            formula="that diagonal block of to_dense()",
            causes="offsets of another parameter",
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
