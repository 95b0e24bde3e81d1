"""The likelihood protocol: p(y | outputs), and everything that curvature needs of it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import array_api_compat

from ..autodiff import Traced, lift
from ..backend import has_values, namespace
from ..errors import DataError, FallbackWarning, ModelError, NotPositiveDefiniteError, UnsupportedError
from ..trees import count

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Likelihood(ABC):
    """p(y | f) with outputs f of shape (N, C); examples are independent. The loss of an example is -log p.

    Only ``log_prob`` must be given. The rest is derived: the score and the Hessian by automatic differentiation, a
    factor from a product and a product from a factor, the Fisher information from the Hessian where that does not depend
    on y (``canonical``) and from samples otherwise, with a warning. Closed forms are faster.

    Attributes:
        canonical: f is the natural parameter of an exponential family: the Hessian of -log p in f does not depend on y
            and is the Fisher information, so the GGN is the Fisher (Martens 2020).
        flattens: outputs with further axes (N, d_1, …) are C = d_1 · … independent outputs.
    """

    canonical: bool = False
    flattens: bool = True

    @abstractmethod
    def log_prob(self, outputs: Array, y: Array) -> Array:
        """log p(y | f), shape (N,), normalised. Written with the Array API: it may be traced."""

    def sample(self, rng: Rng, outputs: Array) -> Array:
        """One draw of y for every example."""
        raise UnsupportedError(
            f"{type(self).__name__} has no sample(rng, outputs), which a Monte Carlo Fisher needs, and so does a Fisher without "
            f"a closed form; write it, or give fisher_factor(outputs)"
        )

    def check(self, outputs: Array, y: Array) -> Array:
        """``y`` in the form that ``log_prob`` takes, after checking it against ``outputs`` (N, C).

        Raises:
            DataError: naming the first example that cannot be.
        """
        return y

    def losses(self, outputs: Array, y: Array) -> Array:
        """-log p(y | f), (N,); ``y`` is lifted where the outputs are traced, so that they meet in any expression."""
        log_prob = self.log_prob(outputs, lift(y) if isinstance(outputs, Traced) else y)
        if tuple(log_prob.shape) != (outputs.shape[0],):
            raise ModelError(
                f"{type(self).__name__}.log_prob returned shape {tuple(log_prob.shape)} for outputs {tuple(outputs.shape)}; it "
                f"gives one number for each example, ({outputs.shape[0]},): sum over the outputs, not over the examples"
            )
        return -log_prob

    def score(self, outputs: Array, y: Array) -> Array:
        """∂ log p(y | f) / ∂f, shape (N, C)."""
        from ..registry import backend_of

        return -backend_of(outputs).value_and_gradient(lambda f: namespace(f).sum(self.losses(f, y)), outputs)[1]

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        """H_n v_n with H_n = -∂² log p / ∂f² (C × C), shape (N, C)."""
        from ..registry import backend_of

        return backend_of(outputs).hvp(lambda f: namespace(f).sum(self.losses(f, y)), outputs, v)

    def hessian_factor(self, outputs: Array, y: Array) -> Array:
        """S (N, C, R) with S_n S_nᵀ = H_n, which must be positive semidefinite (a loss that is convex in the outputs).

        Raises:
            NotPositiveDefiniteError: naming the first example whose H_n is not.
        """
        if self.canonical:
            return self.fisher_factor(outputs)
        matrices = matrices_of(outputs, lambda v: self.hessian_product(outputs, y, v))
        return symmetric_root(matrices, "the Hessian of the loss in the outputs")

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        """F_n v_n with F_n = E_y[score scoreᵀ] (C × C), shape (N, C)."""
        if type(self).fisher_factor is not Likelihood.fisher_factor:
            factor = self.fisher_factor(outputs)
            xp = namespace(outputs)
            inner = xp.matrix_transpose(factor) @ v[:, :, None]
            return (factor @ inner)[:, :, 0]
        if self.canonical:
            # The Hessian does not depend on y: any y serves.
            return self.hessian_product(outputs, namespace(outputs).zeros_like(outputs), v)
        return (self._sampled_fisher(outputs) @ v[:, :, None])[:, :, 0]

    def fisher_factor(self, outputs: Array) -> Array:
        """S (N, C, R) with S_n S_nᵀ = F_n."""
        what = "the Fisher information of the outputs"
        if type(self).fisher_product is Likelihood.fisher_product and not self.canonical:
            return symmetric_root(self._sampled_fisher(outputs), what)
        return symmetric_root(matrices_of(outputs, lambda v: self.fisher_product(outputs, v)), what)

    def _sampled_fisher(self, outputs: Array, samples: int = 1000) -> Array:
        """E_y[score scoreᵀ], (N, C, C), estimated from draws of y with a fixed seed; says so."""
        from ..registry import backend_of

        warnings.warn(
            f"{type(self).__name__} gives neither fisher_factor nor fisher_product and is not canonical: its Fisher "
            f"information is estimated from {samples} draws for each example (relative error about {samples**-0.5:.0%})",
            FallbackWarning,
            stacklevel=4,
        )
        xp, rng = namespace(outputs), backend_of(outputs).rng(0)
        total = xp.zeros((*outputs.shape, outputs.shape[1]), dtype=outputs.dtype, device=device_of(outputs))
        for _ in range(samples):
            score = self.score(outputs, self.sample(rng, outputs))
            total = total + score[:, :, None] * score[:, None, :]
        return total * (1.0 / samples)


def matrices_of(outputs: Array, product: Callable[[Array], Array]) -> Array:
    """The matrices M_n (N, C, C) whose products with v_n, (N, C), are given."""
    xp = namespace(outputs)
    n, c = outputs.shape
    columns = []
    for j in range(c):
        unit = xp.astype(xp.arange(c, device=device_of(outputs)) == j, outputs.dtype)
        columns.append(product(xp.broadcast_to(unit[None, :], (n, c))))
    return xp.stack(columns, axis=-1)


def symmetric_root(matrices: Array, what: str) -> Array:
    """S (N, C, C) with S_n S_nᵀ = M_n for positive semidefinite M_n, through eigendecompositions.

    Raises:
        NotPositiveDefiniteError: naming the first example whose matrix is not.
    """
    xp = namespace(matrices)
    values, vectors = xp.linalg.eigh((matrices + xp.matrix_transpose(matrices)) / 2)
    lowest, largest = xp.min(values, axis=-1), xp.max(xp.abs(values), axis=-1)
    indefinite = lowest < -1e3 * float(xp.finfo(values.dtype).eps) * largest
    if holds(indefinite):
        example = int(xp.argmax(xp.astype(indefinite, xp.int32)))
        raise NotPositiveDefiniteError(
            f"{what} is not positive semidefinite for example {example} (eigenvalue {float(lowest[example]):.3g}), so it has "
            f"no real factor; use cv.Fisher, which always has one, or cv.Hessian"
        )
    roots = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    return vectors * roots[:, None, :]


def device_of(x: Array) -> Any:
    """The device of an array, traced or not."""
    return x.device if isinstance(x, Traced) else array_api_compat.device(x)


def as_outputs(outputs: Array, y: Array, name: str) -> Array:
    """``y`` (N,) or of the outputs' trailing shape as floating (N, C).

    Raises:
        DataError: if its size is another, or it is not finite.
    """
    xp = namespace(y)
    n, c = int(outputs.shape[0]), int(outputs.shape[1])
    if y.ndim == 0 or y.shape[0] != n or count(y) != n * c:
        raise DataError(f"{name}: targets of shape {tuple(y.shape)} do not fit outputs of shape ({n}, {c})")
    y = xp.reshape(y, (n, c))
    if y.dtype != outputs.dtype:
        y = xp.astype(y, outputs.dtype)
    return y


def holds(flags: Array) -> bool:
    """Whether any of the flags is True; False while the caller's program is being compiled, when there are no values."""
    return has_values(flags) and bool(namespace(flags).any(flags))


def first_offender(bad: Array) -> int:
    """Position of the first example with a True in ``bad`` (N, …)."""
    xp = namespace(bad)
    flags = xp.any(xp.reshape(bad, (bad.shape[0], -1)), axis=1)
    return int(xp.argmax(xp.astype(flags, xp.int32)))
