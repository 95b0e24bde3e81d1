"""Products with the rearrangement of a layer's block, which is never formed.

The block of a layer is M = Σ_n Σ_r vec(P_nr) vec(P_nr)ᵀ, P_nr = Σ_t g_ntr ā_ntᵀ (d_out, d_in) the gradient of example n and
column r. Its rearrangement R(M), (d_out², d_in²), is the matrix with R(G ⊗ A) = vec(G) vec(A)ᵀ, so that the nearest Kronecker
product is its nearest matrix of rank one (Van Loan and Pitsianis 1993):

    R(M) vec(X) = vec Σ_n Σ_r P_nr X P_nrᵀ,    R(M)ᵀ vec(Y) = vec Σ_n Σ_r P_nrᵀ Y P_nr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from curvature.autodiff import scatter_rows

Array = Any

_CHUNK = 2**24
"""About how many numbers are made at a time for some of the examples."""


def images(values: Any, xp: Any, x: Array) -> Array:
    """Y_j = Σ_n Σ_r P_nr X_j P_nrᵀ, (k, d_out, d_out), for symmetric X (k, d_in, d_in); for an embedding for diagonal ones,
    (k, d_in). ``values`` are those of an ``affine``, ``grouped`` or ``embedding`` layer.
    """
    if values.layer.kind == "embedding":
        return _summed(xp, x, lambda one: _embedded_image(values, xp, one))
    if values.is_unshared:
        a, g = values.augmented_inputs[:, 0, :], _columns(values, xp)[:, :, 0, :]
        return _summed(xp, x, lambda one: _weighted(xp, xp.sum((a @ one) * a, axis=1), g))
    if _positions_are_few(values):
        return _summed(xp, x, lambda one: _paired_image(values, xp, one))
    return _summed(xp, x, lambda one: _by_gradients(values, xp, one, transposed=False))


def preimages(values: Any, xp: Any, y: Array) -> Array:
    """X_j = Σ_n Σ_r P_nrᵀ Y_j P_nr, (k, d_in, d_in), for symmetric Y (k, d_out, d_out); its diagonals for an embedding."""
    if values.layer.kind == "embedding":
        return _summed(xp, y, lambda one: _embedded_preimage(values, xp, one))
    if values.is_unshared:
        a, g = values.augmented_inputs[:, 0, :], _columns(values, xp)[:, :, 0, :]
        return _summed(xp, y, lambda one: _weighted(xp, xp.sum(xp.sum((g @ one) * g, axis=2), axis=0), a[None, ...]))
    if _positions_are_few(values):
        return _summed(xp, y, lambda one: _paired_preimage(values, xp, one))
    return _summed(xp, y, lambda one: _by_gradients(values, xp, one, transposed=True))


def _summed(xp: Any, given: Array, product: Callable[[Array], Array]) -> Array:
    return xp.stack([product(given[j, ...]) for j in range(int(given.shape[0]))])


def _columns(values: Any, xp: Any) -> Array:
    """g as (R, N, T, d_out)."""
    return xp.permute_dims(values.cotangents, (3, 0, 1, 2))


def _weighted(xp: Any, c: Array, rows: Array) -> Array:
    """Σ_r Σ_n c_n x_rn x_rnᵀ of rows (R, N, d)."""
    d = rows.shape[-1]
    scaled = xp.reshape(c[None, :, None] * rows, (-1, d))
    return xp.matrix_transpose(scaled) @ xp.reshape(rows, (-1, d))


# Shared positions: through the T × T matrices a X aᵀ and g Y gᵀ, or through the gradients ---------------------


def _positions_are_few(values: Any) -> bool:
    """Whether pairs of positions cost less than the gradients themselves."""
    if values.layer.kind != "affine":
        return False
    t, (rows, columns) = values.positions, values.layer.block.shape
    r, (o, i) = int(values.cotangents.shape[3]), ((rows, columns) if values.layer.transposed else (columns, rows))
    pairs = t * i * i + t * t * i + r * (t * t * o + t * o * o)
    return bool(pairs <= r * (t * o * i + o * i * i + o * o * i))


def _slices(n: int, numbers: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, numbers))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _chunks(values: Any, xp: Any) -> Iterator[tuple[Array, Array]]:
    """(inputs (n, T, d_in), cotangents (R, n, T, d_out)) of some examples at a time: R T (T + d_out) numbers are made of each."""
    a = values.inputs if values.layer.kind == "embedding" else values.augmented_inputs
    g = _columns(values, xp)
    for some in _slices(int(a.shape[0]), int(g.shape[0]) * values.positions * (values.positions + int(g.shape[3]))):
        yield a[some, ...], g[:, some, ...]


def _flat(xp: Any, rows: Array) -> Array:
    return xp.reshape(rows, (-1, rows.shape[-1]))


def _paired_image(values: Any, xp: Any, x: Array) -> Array:
    """Σ_n Σ_r g_nrᵀ (a_n X a_nᵀ) g_nr."""
    total: Any = None
    for a, g in _chunks(values, xp):
        between = (a @ x) @ xp.matrix_transpose(a)
        part = xp.matrix_transpose(_flat(xp, g)) @ _flat(xp, between[None, ...] @ g)
        total = part if total is None else total + part
    return total


def _paired_preimage(values: Any, xp: Any, y: Array) -> Array:
    """Σ_n a_nᵀ (Σ_r g_nr Y g_nrᵀ) a_n."""
    total: Any = None
    for a, g in _chunks(values, xp):
        between = xp.sum((g @ y) @ xp.matrix_transpose(g), axis=0)
        part = xp.matrix_transpose(_flat(xp, a)) @ _flat(xp, between @ a)
        total = part if total is None else total + part
    return total


def _by_gradients(values: Any, xp: Any, given: Array, *, transposed: bool) -> Array:
    """Σ P X Pᵀ, or Σ Pᵀ Y P if ``transposed``, from the gradients of some examples at a time."""
    layer, total = values.layer, None
    n, r = (int(values.cotangents.shape[i]) for i in (0, 3))
    for some in _slices(n, layer.block.size * r):
        gradients = xp.permute_dims(values.gradients(some), (0, 2, 1))
        p = xp.reshape(gradients, (-1, *layer.block.shape))
        # P is (d_out, d_in) where the weight is stored so; one transpose too many or too few gives the other product.
        if layer.transposed == transposed:
            p = xp.matrix_transpose(p)
        left, right = (xp.reshape(xp.permute_dims(side, (1, 0, 2)), (p.shape[1], -1)) for side in (p, p @ given))
        part = left @ xp.matrix_transpose(right)
        total = part if total is None else total + part
    return total


# Embeddings: inputs are unit vectors e_i, and A is kept diagonal ----------------------------------------------


def _same_row(xp: Any, numbers: Array, dtype: Any) -> Array:
    """(n, T, T): 1 where two positions of an example take the same row."""
    return xp.astype(numbers[:, :, None] == numbers[:, None, :], dtype)


def _embedded_image(values: Any, xp: Any, x: Array) -> Array:
    """Σ_n Σ_r Σ_v x_v p_v p_vᵀ with p_v the sum of g over the positions that take row v."""
    total: Any = None
    for numbers, g in _chunks(values, xp):
        taken = xp.reshape(xp.take(x, xp.reshape(numbers, (-1,))), tuple(numbers.shape))
        between = _same_row(xp, numbers, g.dtype) * taken[:, :, None]
        part = xp.matrix_transpose(_flat(xp, g)) @ _flat(xp, between[None, ...] @ g)
        total = part if total is None else total + part
    return total


def _embedded_preimage(values: Any, xp: Any, y: Array) -> Array:
    """For each row v, Σ_n Σ_r p_vᵀ Y p_v."""
    total: Any = None
    rows = values.layer.block.shape[0]
    for numbers, g in _chunks(values, xp):
        joined = _same_row(xp, numbers, g.dtype)[None, ...] @ g
        forms = xp.sum(xp.sum((g @ y) * joined, axis=3), axis=0)
        part = scatter_rows(xp)(xp.reshape(forms, (-1, 1)), indices=xp.reshape(numbers, (-1,)), n=rows)[:, 0]
        total = part if total is None else total + part
    return total
