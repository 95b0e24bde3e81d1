"""What enters and leaves a layer in one batch."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .structure import Layer

Array = Any


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
        inputs: tuple[Array, ...],
        cotangents: tuple[Array, ...],
        gradients: Array | None,
        weights: Array | None,
        xp: Any,
    ) -> None:
        self.layer = layer
        self._inputs = inputs
        self._cotangents = cotangents
        self._gradients = gradients
        self._weights = weights
        self._xp = xp

    # Arrays -------------------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> Array:
        """a, (N, T, d_in), T the shared positions (1 for an ordinary dense layer). ``affine`` layers only."""
        xp = self._xp
        flat = [xp.reshape(a, (a.shape[0], -1, a.shape[-1])) for a in self._inputs]
        return flat[0] if len(flat) == 1 else xp.concat(flat, axis=1)

    @cached_property
    def augmented_inputs(self) -> Array:
        """ā, (N, T, d_in + 1): a with a 1 appended where the layer has a bias, otherwise a."""
        xp, a = self._xp, self.inputs
        return a if self.layer.bias is None else xp.concat([a, xp.ones_like(a[:, :, :1])], axis=2)

    @cached_property
    def _column_first(self) -> Array:
        """g as backends give it: (R, N, T, d_out)."""
        xp = self._xp
        flat = [xp.reshape(g, (g.shape[0], g.shape[1], -1, g.shape[-1])) for g in self._cotangents]
        return flat[0] if len(flat) == 1 else xp.concat(flat, axis=2)

    @property
    def cotangents(self) -> Array:
        """g, (N, T, d_out, R). ``affine`` and ``shift`` layers only."""
        return self._xp.permute_dims(self._column_first, (1, 2, 3, 0))

    def gradients(self, examples: slice = slice(None)) -> Array:
        """Gradients of each of the examples in the layout of the layer's block, (N, size, R): N · size · R numbers."""
        xp = self._xp
        if self._gradients is not None:
            return self._gradients[examples, ...]
        g = self._column_first[:, examples, ...]
        if self.layer.kind == "shift":
            return xp.permute_dims(xp.sum(g, axis=2), (1, 2, 0))
        a = self.augmented_inputs[examples, ...]
        first, second = (g, a[None, ...]) if self.layer.transposed else (a[None, ...], g)
        outer = xp.matrix_transpose(first) @ second
        return xp.permute_dims(xp.reshape(outer, (g.shape[0], g.shape[1], -1)), (1, 2, 0))

    # Second moments -----------------------------------------------------------------------------------

    def gram(self, x: Array) -> Array:
        """Σ_n Σ_t x_nt x_ntᵀ, (d, d), of x (N, T, d) made from cotangents: an average over examples."""
        flat = self._xp.reshape(x, (-1, x.shape[-1]))
        return self._xp.matrix_transpose(flat) @ flat

    def weighted_gram(self, x: Array) -> Array:
        """Σ_n w_n Σ_t x_nt x_ntᵀ, (d, d), of x (N, T, d) made from inputs."""
        xp, n, d = self._xp, x.shape[0], x.shape[-1]
        flat = xp.reshape(x, (-1, d))
        if self._weights is not None:
            weighted = xp.reshape(x * xp.reshape(self._weights, (-1, 1, 1)), (-1, d))
            return xp.matrix_transpose(weighted) @ flat
        # 1/N goes to the smaller array.
        if flat.shape[0] < d:
            return xp.matrix_transpose(flat * (1.0 / n)) @ flat
        return (xp.matrix_transpose(flat) @ flat) * (1.0 / n)

    @cached_property
    def input_gram(self) -> Array:
        """A = Σ_n w_n Σ_t ā āᵀ, (d_in [+ 1], d_in [+ 1])."""
        return self.weighted_gram(self.augmented_inputs)

    @cached_property
    def output_gram(self) -> Array:
        """G = Σ_n Σ_t Σ_r g gᵀ, (d_out, d_out)."""
        return self.gram(self._column_first)

    # Squares ------------------------------------------------------------------------------------------

    def squared_gradient(self) -> Array:
        """Σ_n Σ_r (gradient of example n, column r)², entry by entry, in the layout of the block: (size,).

        Without materialising the gradients where each example has one position: Σ_n a_n² (Σ_r g_nr²)ᵀ. With shared
        positions the square of a sum over them is needed: a column at a time, in chunks of examples.
        """
        xp = self._xp
        if self._gradients is not None:
            return xp.sum(xp.sum(self._gradients**2, axis=2), axis=0)
        g = self._column_first
        if self.layer.kind == "shift":
            return xp.sum(xp.sum(xp.sum(g, axis=2) ** 2, axis=0), axis=0)
        if self.is_unshared:
            return self.squared_from(self.squared_cotangents())
        return self._squared_with_sharing(g)

    @property
    def is_unshared(self) -> bool:
        """Whether the layer is affine and each example passes it once: T = 1."""
        return self.layer.kind == "affine" and self._column_first.shape[2] == 1

    def squared_cotangents(self) -> Array:
        """Σ_r g_nr², (N, d_out), of an unshared layer."""
        g = self._column_first[:, :, 0, :]
        return g[0, ...] * g[0, ...] if g.shape[0] == 1 else self._xp.sum(g * g, axis=0)

    def squared_from(self, g_squared: Array) -> Array:
        """``squared_gradient`` of an unshared layer from Σ_r g_nr², (N, d_out)."""
        xp, a = self._xp, self.augmented_inputs[:, 0, :]
        left, right = (g_squared, a * a) if self.layer.transposed else (a * a, g_squared)
        return xp.reshape(xp.matrix_transpose(left) @ right, (-1,))

    def _squared_with_sharing(self, g: Array) -> Array:
        xp, a = self._xp, self.augmented_inputs
        n, size = int(a.shape[0]), int(a.shape[2] * g.shape[3])
        # At most about 2^24 numbers at a time.
        chunk = max(1, min(n, 2**24 // max(1, size)))
        total: Any = 0.0
        for start in range(0, n, chunk):
            part = slice(start, min(start + chunk, n))
            for r in range(int(g.shape[0])):
                left, right = (g[r, part, ...], a[part, ...]) if self.layer.transposed else (a[part, ...], g[r, part, ...])
                gradients = xp.reshape(xp.matrix_transpose(left) @ right, (-1, size))
                total = total + xp.sum(gradients * gradients, axis=0)
        return total
