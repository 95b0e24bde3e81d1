"""What enters and leaves a layer in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..autodiff.scatter import scatter_rows
from ..backend import Backend, Use
from . import use_gradients
from .structure import Layer

Array = Any

_CHUNK = 2**24
"""About how many numbers the gradients of some examples may hold at a time."""

_KEPT = 2**22
"""How many numbers the gradients of all examples may hold that are kept for those who ask next."""


@dataclass(frozen=True)
class Template:
    """What of ``LayerValues`` is no array: it can be hashed, and filled again.

    Attributes:
        layer: the layer.
        uses: its uses without their arrays.
        backend: of the arrays.
    """

    layer: Layer
    uses: tuple[Use, ...]
    backend: Backend

    def filled(self, arrays: Any) -> LayerValues:
        """The values with the arrays that ``LayerValues.arrays`` gave."""
        uses, gradients, weights = arrays
        full = [(replace(u, inputs=a, entries=e), g) for u, (a, e, g) in zip(self.uses, uses, strict=True)]
        return LayerValues(self.layer, full, gradients, weights, self.backend)


class LayerValues:
    """Inputs and output cotangents of one layer; a layer that is used several times has more shared positions.

    The gradient of example n and column r is Σ_t g_ntr a_ntᵀ. The columns of ``matrix.output_factor`` carry the square root
    of each example's weight, so that *sums* over examples of what is quadratic in cotangents are the problem's averages;
    inputs carry no weight, and ``weighted_gram`` puts it in.

    Attributes:
        layer: names, kind and layout.
    """

    def __init__(
        self,
        layer: Layer,
        uses: Sequence[tuple[Use, Array]],
        gradients: Array | None,
        weights: Array | None,
        backend: Backend,
    ) -> None:
        self.layer = layer
        self._uses = uses
        self._gradients = gradients
        self._weights = weights
        self._backend = backend
        self._xp = backend.xp

    @property
    def template(self) -> Template:
        """All of it but the arrays."""
        return Template(self.layer, tuple(replace(use, inputs=None, entries=None) for use, _ in self._uses), self._backend)

    @property
    def arrays(self) -> Any:
        """A tree of the arrays in it."""
        return [[(use.inputs, use.entries, g) for use, g in self._uses], self._gradients, self._weights]

    # Arrays -------------------------------------------------------------------------------------------

    @cached_property
    def _parts(self) -> list[tuple[Use, Array | None, Array]]:
        """(use, inputs (N, T, …), cotangents (R, N, T, d_out)) of every use."""
        return [(use, *use_gradients.flat_positions(self._xp, use, g)) for use, g in self._uses]

    def _joined(self, arrays: Sequence[Array], axis: int) -> Array:
        return arrays[0] if len(arrays) == 1 else self._xp.concat(arrays, axis=axis)

    @cached_property
    def inputs(self) -> Array:
        """a, (N, T, d_in), T the shared positions (1 for an ordinary dense layer); of ``affine`` and ``scale`` layers.

        (N, T · groups, d_in) of ``grouped`` ones, whose groups stand beside the positions; row numbers (N, T) of an
        ``embedding``.
        """
        inputs = self._joined([a for _, a, _ in self._parts if a is not None], axis=1)
        if self.layer.kind != "grouped":
            return inputs
        xp, groups = self._xp, self._parts[0][0].groups
        return xp.reshape(inputs, (inputs.shape[0], -1, inputs.shape[2] // groups))

    @cached_property
    def augmented_inputs(self) -> Array:
        """ā: a with a 1 appended where an ``affine`` or ``grouped`` layer has a bias, otherwise a."""
        xp, a = self._xp, self.inputs
        return a if self.layer.bias is None else xp.concat([a, xp.ones_like(a[:, :, :1])], axis=2)

    @cached_property
    def _column_first(self) -> Array:
        """g as backends give it: (R, N, T, d_out)."""
        return self._joined([g for _, _, g in self._parts], axis=2)

    @property
    def cotangents(self) -> Array:
        """g, (N, T, d_out, R). Of layers whose uses have one d_out: all but ``mixed`` and ``general`` ones."""
        return self._xp.permute_dims(self._column_first, (1, 2, 3, 0))

    @property
    def cotangents_by_column(self) -> Array:
        """g as (R, N, T, d_out): the same numbers column by column, as backends give them."""
        return self._column_first

    @property
    def weights(self) -> Array | None:
        """w_n, (N,), with sum 1, or None where all are 1 / N."""
        return self._weights

    @property
    def examples(self) -> int:
        """N."""
        return int(self._gradients.shape[0] if self._gradients is not None else self._parts[0][2].shape[1])

    @property
    def columns(self) -> int:
        """R."""
        return int(self._gradients.shape[2] if self._gradients is not None else self._parts[0][2].shape[0])

    @property
    def positions(self) -> int:
        """T, how many positions share the parameters."""
        return int(self._column_first.shape[2])

    def gradients(self, examples: slice = slice(None)) -> Array:
        """Gradients of each of the examples in the layout of the layer's block, (N, size, R): N · size · R numbers."""
        if self._gradients is not None:
            return self._gradients[examples, ...]
        return self._xp.permute_dims(self._rows(examples), (1, 2, 0))

    def _rows(self, examples: slice) -> Array:
        """Gradients of the examples, (R, N, size)."""
        whole = examples == slice(None) or examples == slice(0, self.examples)
        if whole and self.examples * self.columns * self.layer.block.size <= _KEPT:
            return self._all_rows
        return self._made_rows(examples)

    @cached_property
    def _all_rows(self) -> Array:
        return self._made_rows(slice(None))

    def _made_rows(self, examples: slice) -> Array:
        xp, layer = self._xp, self.layer
        if layer.kind == "affine":
            g, a = self._column_first[:, examples, ...], self.augmented_inputs[examples, ...]
            left, right = (g, a[None, ...]) if layer.transposed else (a[None, ...], g)
            outer = xp.matrix_transpose(left) @ right
            return xp.reshape(outer, (g.shape[0], g.shape[1], -1))
        weight: Any = None
        for use, inputs, g in self._parts:
            if layer.kind == "shift":  # it may be the bias of any use
                part = xp.sum(g[:, examples, ...], axis=2)
            else:
                some = None if inputs is None else inputs[examples, ...]
                part = use_gradients.by_example(xp, use, some, g[:, examples, ...])
                part = use_gradients.resolved(xp, use, part, self._weight_size)
            weight = part if weight is None else weight + part
        if layer.bias is None or layer.kind == "shift":
            return weight
        bias = xp.sum(self._column_first[:, examples, ...], axis=2)
        return self._beside(weight, bias)

    @property
    def _weight_size(self) -> int:
        rows, columns = self.layer.block.shapes[0]
        return rows * columns

    def _beside(self, weight: Array, bias: Array) -> Array:
        """Entries of the weight and of the bias, (…, size of each), in the layout of the block."""
        xp, block, lead = self._xp, self.layer.block, tuple(weight.shape[:-1])
        pieces = [xp.reshape(x, (*lead, *shape)) for x, shape in zip((weight, bias), block.shapes, strict=True)]
        return xp.reshape(xp.concat(pieces, axis=len(lead) + block.axis), (*lead, -1))

    # Pairs of examples --------------------------------------------------------------------------------

    @cached_property
    def input_products(self) -> Array:
        """ā_n · ā_m of an unshared layer, (N, N)."""
        a = self.inputs[:, 0, :]
        products = a @ self._xp.matrix_transpose(a)
        return products if self.layer.bias is None else products + 1.0

    @cached_property
    def cotangent_products(self) -> Array:
        """g_nr · g_ms of an unshared layer, (N · R, N · R)."""
        xp = self._xp
        g = xp.reshape(xp.permute_dims(self._column_first[:, :, 0, :], (1, 0, 2)), (-1, self._column_first.shape[3]))
        return g @ xp.matrix_transpose(g)

    # Second moments -----------------------------------------------------------------------------------

    def gram(self, x: Array) -> Array:
        """Σ_n Σ_t x_nt x_ntᵀ, (d, d), of x (N, T, d) made from cotangents: an average over examples."""
        return self._backend.gram(self._xp.reshape(x, (-1, x.shape[-1])))

    def weighted_gram(self, x: Array, *, augmented: bool = False, scale: float = 1.0) -> Array:
        """``scale`` Σ_n w_n Σ_t x_nt x_ntᵀ of x (N, T, d) made from inputs, (d, d); (d + 1, d + 1) with 1 appended to each x."""
        xp, n, t = self._xp, x.shape[0], x.shape[1]
        last: Any = None
        if self._weights is not None:
            root = xp.reshape(xp.sqrt(self._weights), (-1, 1, 1))
            x = x * root
            if augmented:
                last = xp.reshape(xp.broadcast_to(root, (n, t, 1)), (-1,))
        else:
            scale = scale / n
            if augmented:
                last = xp.reshape(xp.ones_like(x[:, :, 0]), (-1,))
        return self._backend.gram(xp.reshape(x, (-1, x.shape[-1])), last=last, scale=scale)

    @cached_property
    def input_gram(self) -> Array:
        """A = Σ_n w_n Σ_t ā āᵀ, (d_in [+ 1], d_in [+ 1]); of ``grouped`` layers the mean over their groups."""
        scale = 1.0 / self._parts[0][0].groups if self.layer.kind == "grouped" else 1.0
        return self.weighted_gram(self.inputs, augmented=self.layer.bias is not None, scale=scale)

    @cached_property
    def input_frequencies(self) -> Array:
        """The diagonal of A = Σ_n w_n Σ_t e eᵀ of an ``embedding``, e the unit vectors of its row numbers: (rows,)."""
        xp, numbers, n = self._xp, self.inputs, self.inputs.shape[0]
        like = self._column_first
        if self._weights is None:
            weights = xp.full_like(like[0, :, :, 0], 1.0 / n)
        else:
            weights = xp.broadcast_to(self._weights[:, None], tuple(numbers.shape))
        rows = self.layer.block.shapes[0][0]
        column = scatter_rows(xp)(xp.reshape(weights, (-1, 1)), indices=xp.reshape(numbers, (-1,)), n=rows)
        return column[:, 0]

    @cached_property
    def output_gram(self) -> Array:
        """G = Σ_n Σ_t Σ_r g gᵀ, (d_out, d_out)."""
        return self.gram(self._column_first)

    def second_moment(self) -> Array:
        """Σ_n Σ_r of the outer products of the gradients, (size, size): the layer's exact block."""
        size = self.layer.block.size
        total: Any = None
        for examples in self._chunks(size):
            rows = self.gradients(examples)
            part = self.gram(self._xp.matrix_transpose(rows))
            total = part if total is None else total + part
        return total

    # Squares ------------------------------------------------------------------------------------------

    def squared_gradient(self) -> Array:
        """Σ_n Σ_r (gradient of example n, column r)², entry by entry, in the layout of the block: (size,).

        Without materialising the gradients where each example has one position: Σ_n a_n² (Σ_r g_nr²)ᵀ. With shared
        positions the square of a sum over them is needed: a column at a time, in chunks of examples.
        """
        xp, layer = self._xp, self.layer
        if self._gradients is not None:
            return xp.sum(xp.sum(self._gradients**2, axis=2), axis=0)
        if self.is_unshared:
            return self.squared_from(self.squared_cotangents())
        if layer.kind == "embedding":
            return use_gradients.squared_rows(xp, self.inputs, self._column_first, layer.block.shapes[0][0])
        if layer.kind == "affine":
            return self._squared_affine()
        total: Any = 0.0
        for examples in self._chunks(layer.block.size * int(self._parts[0][2].shape[0])):
            rows = self._rows(examples)
            total = total + xp.sum(xp.sum(rows * rows, axis=0), axis=0)
        return total

    def _squared_affine(self) -> Array:
        """With shared positions: a column at a time, so that products need no copies of the inputs, and without the 1 in ā."""
        xp, g, a = self._xp, self._column_first, self.inputs
        weight: Any = 0.0
        bias: Any = 0.0
        for examples in self._chunks(self._weight_size):
            for r in range(int(g.shape[0])):
                left, right = (g[r, examples, ...], a[examples, ...])
                if not self.layer.transposed:
                    left, right = right, left
                product = xp.matrix_transpose(left) @ right
                weight = weight + xp.sum(product * product, axis=0)
                if self.layer.bias is not None:
                    total = xp.sum(g[r, examples, ...], axis=1)
                    bias = bias + xp.sum(total * total, axis=0)
        flat = xp.reshape(weight, (-1,))
        return flat if self.layer.bias is None else self._beside(flat, bias)

    def _chunks(self, numbers: int) -> list[slice]:
        """Slices of the examples whose gradients, of so many numbers for each, are made at a time."""
        if self._gradients is not None:
            return [slice(None)]
        n = int(self._parts[0][2].shape[1])
        step = max(1, min(n, _CHUNK // max(1, numbers)))
        return [slice(start, min(start + step, n)) for start in range(0, n, step)]

    @property
    def is_unshared(self) -> bool:
        """Whether the layer is affine and each example passes it once: T = 1."""
        return self.layer.kind == "affine" and self.positions == 1

    def squared_cotangents(self) -> Array:
        """Σ_r g_nr², (N, d_out), of an unshared layer."""
        g = self._column_first[:, :, 0, :]
        return g[0, ...] * g[0, ...] if g.shape[0] == 1 else self._xp.sum(g * g, axis=0)

    def squared_from(self, g_squared: Array) -> Array:
        """``squared_gradient`` of an unshared layer from Σ_r g_nr², (N, d_out)."""
        xp, a = self._xp, self.inputs[:, 0, :]
        a_squared = a * a
        if self.layer.bias is not None:  # not the augmented inputs, which would be kept
            a_squared = xp.concat([a_squared, xp.ones_like(a[:, :1])], axis=1)
        left, right = (g_squared, a_squared) if self.layer.transposed else (a_squared, g_squared)
        return xp.reshape(xp.matrix_transpose(left) @ right, (-1,))
