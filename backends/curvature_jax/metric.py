"""The approximation F̂ inside of a compiled program: statistics, their moving average, and solutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import curvature as cv

from .draws import DrawnFisher
from .staged import Staged
from .trainee import Trainee

Array = Any
Tree = Any

FISHERS = ("exact", "monte-carlo", "empirical", "ggn")

FEW_OUTPUTS = 32
"""Up to so many columns of the output factor the exact expectation over the model's predictions is worth its price."""


class Metric:
    """Which matrix is approximated, how, and how often.

    Args:
        trainee: the model and its likelihood.
        approximation: name, class or instance.
        fisher: "exact", "monte-carlo", "empirical", "ggn", "auto" or a function problem -> matrix.
        decay: of the moving average, ε = min(1 - 1/k, decay).
        statistics_every, refresh_every: steps between updates of the statistics, and of what is built from them.

    Raises:
        DataError: if ``fisher`` or ``approximation`` is none of these.
    """

    def __init__(
        self, trainee: Trainee, approximation: Any, fisher: Any, *, decay: float, statistics_every: int, refresh_every: int
    ) -> None:
        if isinstance(approximation, str):
            approximation = cv.approximation(approximation)
        elif isinstance(approximation, type):
            approximation = approximation()
        if not isinstance(approximation, cv.Approximation):
            raise cv.DataError(f"an approximation is a name or a curvature.Approximation, got {approximation!r}")
        if not (callable(fisher) or fisher in (*FISHERS, "auto")):
            raise cv.DataError(f"fisher is one of {', '.join(FISHERS)}, auto or a function of a problem, got {fisher!r}")
        self.trainee = trainee
        self.method: cv.Approximation = approximation
        self.fisher = fisher
        self.decay = decay
        self.statistics_every = statistics_every
        self.refresh_every = refresh_every

    # The matrix ---------------------------------------------------------------------------------------

    def exact(self, problem: cv.Problem) -> cv.GaussNewtonMatrix:
        """The matrix of the quadratic model, also where the approximation is estimated from draws or scores."""
        if callable(self.fisher):
            return self._given(problem)
        return cv.GGN(problem) if self.fisher == "ggn" else cv.Fisher(problem)

    def _estimated(self, problem: cv.Problem, key: Array) -> cv.GaussNewtonMatrix:
        """The matrix that the statistics are of."""
        if self.fisher == "empirical":
            return cv.EmpiricalFisher(problem)
        drawn = self.fisher == "monte-carlo"
        if self.fisher == "auto":
            drawn = cv.Fisher(problem).columns(next(problem.batches())) > FEW_OUTPUTS
        return DrawnFisher(problem, key) if drawn else self.exact(problem)

    def _given(self, problem: cv.Problem) -> cv.GaussNewtonMatrix:
        matrix: Any = self.fisher(problem)
        if not isinstance(matrix, cv.GaussNewtonMatrix):
            raise cv.DataError(f"fisher(problem) returned a {type(matrix).__name__}, not a matrix such as curvature.GGN(problem)")
        if isinstance(matrix, cv.MonteCarloFisher) and not isinstance(matrix, DrawnFisher):
            raise cv.UnsupportedError(
                "fisher(problem) returned a MonteCarloFisher, whose draws a compiled program would repeat in every step; pass "
                'fisher="monte-carlo", which draws anew'
            )
        return matrix

    # Statistics ---------------------------------------------------------------------------------------

    def gathered(self, params: Tree, data: Any, key: Array) -> Tree:
        """Statistics of one batch, of a problem of its own: what a problem keeps must not leave the branch of a program."""
        problem = self.trainee.problem(params, data)
        return cv.estimate(self._estimated(problem, key), self.method, problem.backend)

    def averaged(self, old: Tree, updates: Array, step: Array, gather: Callable[[], Tree]) -> tuple[Tree, Array]:
        """(statistics, updates) with those of this step taken in, where there are any and they are finite.

        Raises:
            UnsupportedError: if the statistics have other shapes than those they are to be averaged with.
        """
        if old is None:
            latest = gather()
            return latest, all_finite(latest).astype(updates.dtype)

        def renewed() -> tuple[Tree, Array]:
            latest = gather()
            merged = latest
            if self.decay > 0:
                share = jnp.minimum(1.0 - 1.0 / (updates + 1), self.decay).astype(_dtype(latest))
                merged = self._same_shapes(self.method.merge([old, latest], [share, 1.0 - share]), old)
            first = updates == 0
            merged = select(first, self._same_shapes(latest, old), merged)
            good = all_finite(merged)
            return select(good, merged, old), updates + good.astype(updates.dtype)

        if self.statistics_every == 1:
            return renewed()
        due = (step % self.statistics_every == 0) | (updates == 0)
        return jax.lax.cond(due, renewed, lambda: (old, updates))

    def _same_shapes(self, new: Tree, old: Tree) -> Tree:
        forms: list[Any] = [jax.tree_util.tree_map(lambda a: (tuple(a.shape), str(a.dtype)), tree) for tree in (new, old)]
        if forms[0] != forms[1]:
            raise cv.UnsupportedError(
                f"the statistics of {self.method!r} change their shapes from step to step, which a compiled program cannot: set "
                f"decay=0, give every batch the same size, or take another approximation"
            )
        return new

    def mean_diagonal(self, problem: cv.Problem, statistics: Tree) -> Array:
        """tr(F̂) / P."""
        operator = cv.build(self.method, statistics, problem.structure.of(self.exact(problem)))
        return jnp.asarray(operator.trace(), problem.model.dtype) / problem.space.size

    # Solutions ----------------------------------------------------------------------------------------

    def solver(
        self, problem: cv.Problem, statistics: Tree, damping: Array, kept: Any, age: Array
    ) -> tuple[Callable[[Array], Array], Any, Array]:
        """(v ↦ (F̂ + damping·I)⁻¹ v for v (P,), what is kept of decompositions, steps since they were made).

        With ``refresh_every`` > 1 all that depends on the statistics alone (factorisations and eigenvectors, and with factored
        damping the λ of the refresh) is kept as arrays from one refresh to the next.
        """
        structure = problem.structure.of(self.exact(problem))
        if self.refresh_every == 1:
            method, remaining = self.method.damped(damping)
            operator = cv.build(method, statistics, structure)
            return lambda v: operator.solve(v, damping=remaining), None, age

        def solve(known: Tree, later: Tree) -> Array:
            (of, built_with), (v, now) = known, later
            method, _ = self.method.damped(built_with)
            _, remaining = self.method.damped(now)
            return cv.build(method, of, structure).solve(v, damping=remaining)

        like = jax.ShapeDtypeStruct((problem.space.size,), problem.model.dtype)
        staged = Staged(solve, (statistics, damping), (like, damping))
        if kept is None:
            kept, age = staged.prepare((statistics, damping)), jnp.zeros_like(age)
        else:
            due = age >= self.refresh_every
            old = kept
            kept = jax.lax.cond(due, lambda: staged.prepare((statistics, damping)), lambda: tuple(old))
            age = jnp.where(due, 0, age)
        prepared = kept
        return lambda v: staged.finish(prepared, (v, damping)), kept, age


def select(condition: Array, new: Tree, old: Tree) -> Tree:
    """``new`` where a condition holds, else ``old``."""
    return jax.tree_util.tree_map(lambda one, other: jnp.where(condition, one, other), new, old)


def all_finite(tree: Tree) -> Array:
    """Whether no number of a tree is NaN or infinite, a 0-d array."""
    floating = [a for a in jax.tree_util.tree_leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in floating])) if floating else jnp.asarray(True)


def _dtype(tree: Tree) -> Any:
    return next(a.dtype for a in jax.tree_util.tree_leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating))
