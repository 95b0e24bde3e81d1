"""Whether the forward derivative of a model is the transpose of its reverse one: libraries do not promise it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import namespace
from ..errors import CurvatureError, FallbackWarning
from ..trees import leaves, tree_map
from .batch import Batch

if TYPE_CHECKING:
    from .problem import Problem

Array = Any


def forward_mode_is_right(problem: Problem, batch: Batch) -> bool:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ for random u and v: asked once for each model and shape of inputs, at the cost of a product.

    It fails where one mode does not see what the other does: ``torch.no_grad``, hooks, scripted functions and derivatives
    inside of the model. Then both maps are taken from reverse mode, which training by gradients uses as well.
    """
    key = (batch.form, batch.size)
    known = problem.model.transposes
    if key in known:
        return known[key]
    if any(problem.backend.is_abstract(a) for a in (*leaves(problem.params), *leaves(batch.x))):
        return True  # what was asked before the caller's program was compiled is known; nothing can be asked in it
    known[key] = _agree(problem, batch)
    if not known[key]:
        warnings.warn(
            "the forward derivative of the model is not the transpose of its reverse derivative (torch.no_grad, a hook or a "
            "scripted function inside?): both are taken from reverse mode, as gradients are, which is slower",
            FallbackWarning,
            stacklevel=2,
        )
    return known[key]


def _agree(problem: Problem, batch: Batch) -> bool:
    backend, random = problem.backend, np.random.default_rng(3)

    def like(array: Array) -> Array:
        return backend.asarray(random.standard_normal(tuple(int(d) for d in array.shape)), dtype=array.dtype)

    claim = backend.capabilities.get("jit")
    product = backend.jit(_inner) if claim is not None and claim.supported else _inner

    def inner(a: Any, b: Any) -> float:
        return float(product(leaves(a), leaves(b)))

    v = tree_map(like, problem.params)
    try:
        outputs, pushed, pull = backend.jvp_and_pull(problem.outputs_of(batch), problem.params, v)
        u = like(outputs)
        pulled = pull(u)
    except CurvatureError:
        raise
    except Exception as error:  # of forward mode alone, or reverse mode says it again
        if backend.is_out_of_memory(error):
            raise
        return False
    size = (inner(u, u) * inner(pushed, pushed)) ** 0.5 + (inner(pulled, pulled) * inner(v, v)) ** 0.5
    gap = abs(inner(u, pushed) - inner(pulled, v))
    # What is not finite is for those who use it to refuse.
    return not gap > float(problem.xp.finfo(outputs.dtype).eps) ** 0.5 * size


def _inner(a: list[Array], b: list[Array]) -> Array:
    """Σ ⟨x, y⟩ over the arrays of two trees: one program where the backend compiles."""
    terms = [namespace(x).sum(x * y) for x, y in zip(a, b, strict=True)]
    return sum(terms[1:], start=terms[0])
