"""One natural-gradient step as one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

import curvature as cv

from .metric import Metric, all_finite, select
from .step_rules import Damping, StepSize, TrustRegion
from .step_state import NaturalGradientState, StepReport
from .trainee import Trainee

Array = Any
Tree = Any


@dataclass(frozen=True)
class Rules:
    """What a step goes by, in a form that can be traced; ``acceleration`` is the bound of 2‖a‖/‖v‖ or None."""

    damping: Damping
    step_size: StepSize
    trust_region: TrustRegion | None
    acceleration: float | None
    l2: float


class CompiledStep:
    """``init`` and ``update`` of the gradient transformation.

    Args:
        trainee: what is trained. metric: F̂. rules: of the step.
        seed: of the Monte Carlo Fisher's draws.
        example: a batch, or its shapes and dtypes; None where the structure of the state is to be found at the first update.
    """

    def __init__(self, trainee: Trainee, metric: Metric, rules: Rules, seed: int, example: Any) -> None:
        self.trainee = trainee
        self.metric = metric
        self.rules = rules
        self.seed = seed
        self.example = None if example is None else jax.tree_util.tree_map(_shape_of, as_tuple(example))
        # Compiled as a whole also where the caller compiles nothing: branches would be compiled anew at each call.
        self._run = jax.jit(self._step)

    def init(self, params: Tree) -> NaturalGradientState:
        """The state before the first step."""
        inner = self.trainee.inside(params)
        dtype = jax.tree_util.tree_leaves(inner)[0].dtype
        key = jax.random.key_data(jax.random.key(self.seed))
        statistics = operator = None
        if self.example is not None:
            shapes = jax.eval_shape(self._first, params, self.example, key)
            statistics, operator = jax.tree_util.tree_map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        nothing, nan = jnp.zeros((), dtype), jnp.full((), jnp.nan, dtype)
        return NaturalGradientState(
            step=jnp.zeros((), jnp.int32),
            damping=jnp.asarray(self.rules.damping.initial, dtype),
            velocity=jax.tree_util.tree_map(jnp.zeros_like, params) if self.rules.step_size.carries else None,
            memory=None if self.rules.step_size.smoothed is None else jnp.asarray([1.0, jnp.nan, jnp.nan, 0.0], dtype),
            statistics=statistics,
            updates=jnp.zeros((), jnp.int32),
            operator=operator,
            age=jnp.asarray(self.metric.refresh_every, jnp.int32),
            key=key,
            failures=jnp.zeros((), jnp.int32),
            last=StepReport(nan, nan, nothing, nothing, nothing, nan, nan, jnp.asarray(False)),
        )

    def update(
        self,
        updates: Tree,
        state: NaturalGradientState,
        params: Tree = None,
        *,
        data: Any = None,
        value: Any = None,
        **extra: Any,
    ) -> tuple[Tree, NaturalGradientState]:
        """(δ, state): see ``curvature_jax.natural_gradient``."""
        if params is None or data is None:
            missing = "params" if params is None else "data=(x, y)"
            raise cv.DataError(
                f"the natural gradient needs {missing}, the batch and the parameters that the gradient is of: "
                f"optimizer.update(grads, state, params, data=(x, y))"
            )
        return self._run(updates, state, params, as_tuple(data), value)

    # The program --------------------------------------------------------------------------------------

    def _first(self, params: Tree, data: Any, key: Array) -> tuple[Tree, Any]:
        """Statistics and what is kept of decompositions, for their shapes."""
        statistics = self.metric.gathered(params, data, jax.random.wrap_key_data(key))
        problem = self.trainee.problem(params, data)
        damping, age = jnp.ones((), problem.model.dtype), jnp.zeros((), jnp.int32)
        return statistics, self.metric.solver(problem, statistics, damping, None, age)[1]

    def _step(
        self, gradient: Tree, state: NaturalGradientState, params: Tree, data: Any, value: Array | None
    ) -> tuple[Tree, NaturalGradientState]:
        rules, metric, trainee = self.rules, self.metric, self.trainee
        problem = trainee.problem(params, data)
        space, dtype = problem.space, problem.model.dtype
        theta = space.ravel(jnp, problem.params)
        slope = space.ravel(jnp, trainee.inside(gradient), what="the gradient").astype(dtype) + rules.l2 * theta
        value = jnp.asarray(problem.loss() if value is None else value, dtype) + 0.5 * rules.l2 * jnp.sum(theta * theta)
        squared = jnp.sum(slope * slope)

        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        statistics, updates = metric.averaged(
            state.statistics, state.updates, state.step, lambda: metric.gathered(params, data, key)
        )
        mean = metric.mean_diagonal(problem, statistics) if rules.damping.needs_mean else jnp.zeros((), dtype)
        damping = rules.damping.at(state.step, state.damping, mean)
        solve, kept, age = metric.solver(problem, statistics, damping + rules.l2, state.operator, state.age)

        directions = [-solve(slope)]
        if rules.step_size.carries:
            directions.append(space.ravel(jnp, trainee.inside(state.velocity)))
        here = Neighbourhood(self, problem, params, data, theta, value, slope, jnp.stack(directions), damping)
        choice = here.chosen(state.step, solve, state.memory)
        looks, after, predicted, ratio = here.judged(choice, state.step)

        good = jnp.isfinite(value) & jnp.isfinite(squared) & (updates > 0) & all_finite(choice.update)
        accepted = good & (jnp.isfinite(after) | ~looks)
        update = jnp.where(accepted, choice.update, 0.0)
        ratio = jnp.where(accepted, ratio, -jnp.inf)
        moved = trainee.outside(space.unravel(jnp, update), params)
        coefficients = jnp.where(accepted, choice.coefficients, 0.0)
        following = NaturalGradientState(
            step=state.step + 1,
            damping=rules.damping.updated(damping if rules.damping.schedule is None else state.damping, ratio, mean),
            velocity=None if state.velocity is None else moved,
            memory=None if choice.memory is None or state.memory is None else jnp.where(accepted, choice.memory, state.memory),
            # What was gathered where the numbers are left is not worth keeping, even where it is finite itself.
            statistics=statistics if state.statistics is None else select(good, statistics, state.statistics),
            updates=jnp.where(good, updates, state.updates),
            operator=kept if state.operator is None else select(good, kept, state.operator),
            age=jnp.where(good, age, state.age) + 1,
            key=state.key,
            failures=state.failures + (1 - accepted.astype(state.failures.dtype)),
            last=StepReport(
                loss=value,
                gradient_norm=jnp.sqrt(squared),
                damping=damping,
                learning_rate=coefficients[0],
                momentum=coefficients[1] if rules.step_size.carries else jnp.zeros((), dtype),
                predicted=predicted,
                ratio=ratio,
                accepted=accepted,
            ),
        )
        return moved, following


@dataclass(frozen=True)
class Choice:
    """A point of the directions' span: its coefficients (k,) and the update (P,), bent or not.

    ``after`` and ``fisher`` (k, k) are None where they were not needed: h(θ + δ), and d_iᵀ F d_j. ``memory`` is what the rule of
    the learning rate leaves for the next step.
    """

    coefficients: Array
    update: Array
    after: Array | None
    fisher: Array | None
    memory: Array | None


class Neighbourhood:
    """The objective h and its quadratic model near the parameters, over the span of some directions.

    Attributes:
        theta (P,), value, slope (P,): θ, h(θ), ∇h(θ). directions: (k, P). damping: λ.
    """

    def __init__(
        self,
        step: CompiledStep,
        problem: cv.Problem,
        params: Tree,
        data: Any,
        theta: Array,
        value: Array,
        slope: Array,
        directions: Array,
        damping: Array,
    ) -> None:
        self.step = step
        self.rules = step.rules
        self.problem = problem
        self.params = params
        self.data = data
        self.theta = theta
        self.value = value
        self.slope = slope
        self.directions = directions
        self.damping = damping
        self.slopes = directions @ slope
        self.products = directions @ directions.T

    def at(self, update: Array) -> Array:
        """h(θ + δ), of a problem of its own: what a problem keeps must not leave the branch of a program."""
        moved = self.theta + update
        params = self.step.trainee.outside(self.problem.space.unravel(jnp, moved), self.params)
        loss = self.step.trainee.problem(params, self.data).loss()
        return loss + 0.5 * self.rules.l2 * jnp.sum(moved * moved)

    def fisher(self) -> Array:
        """d_iᵀ F d_j with the exact matrix, by one forward derivative for each direction."""
        problem = self.step.trainee.problem(self.params, self.data)
        trees = [problem.space.unravel(jnp, direction) for direction in self.directions]
        return self.step.metric.exact(problem).quadratic_forms(trees)

    def gram(self, fisher: Array) -> Array:
        """d_iᵀ (F + (λ + l2) I) d_j."""
        return fisher + (self.damping + self.rules.l2) * self.products

    def chosen(self, step: Array, solve: Callable[[Array], Array], memory: Array | None) -> Choice:
        """The point that the rules choose."""
        rules, region = self.rules, self.rules.trust_region
        fisher = None
        if rules.step_size.rate is None or (region is not None and region.measure == "divergence"):
            fisher = self.fisher()
        gram = None if fisher is None else self.gram(fisher)
        coefficients, memory = rules.step_size.coefficients(step, self.slopes, gram, memory)
        if region is not None:
            coefficients = coefficients * region.shrink(coefficients, self.slopes, fisher, self.products)
        update = coefficients @ self.directions
        if rules.acceleration is None:
            return Choice(coefficients, update, None, fisher, memory)
        return Choice(coefficients, *self._bent(coefficients, update, rules.acceleration, solve), fisher, memory)

    def _bent(self, coefficients: Array, update: Array, limit: float, solve: Callable[[Array], Array]) -> tuple[Array, Array]:
        """The better of the straight and the accelerated step, and its objective."""
        space, direction = self.problem.space, self.directions[0]
        matrix = self.step.metric.exact(self.problem)
        bend = -solve(space.ravel(jnp, matrix.bending_force(space.unravel(jnp, direction))))
        curved = update + bend * (0.5 * coefficients[0] ** 2)
        straight, accelerated = self.at(update), self.at(curved)
        short = 4 * jnp.sum(bend * bend) <= limit**2 * self.products[0, 0]
        better = short & ((accelerated < straight) | ~jnp.isfinite(straight)) & jnp.isfinite(accelerated)
        return jnp.where(better, curved, update), jnp.where(better, accelerated, straight)

    def judged(self, choice: Choice, step: Array) -> tuple[Array, Array, Array, Array]:
        """(whether the objective is looked at, h(θ + δ), change of the quadratic model, reduction ratio ρ); NaN where unknown."""
        interval, nan = self.rules.damping.interval, jnp.full((), jnp.nan, self.value.dtype)
        known = nan if choice.fisher is None else self._predicted(choice.coefficients, choice.fisher)
        if not interval:
            return jnp.asarray(False), nan, known, nan

        def look() -> tuple[Array, Array, Array]:
            after = self.at(choice.update) if choice.after is None else choice.after
            predicted = known if choice.fisher is not None else self._predicted(choice.coefficients, self.fisher())
            actual = after - self.value
            # As ``curvature.optim.search.reduction_ratio``.
            uphill = jnp.where(actual <= predicted, 1.0, predicted / actual) if len(choice.coefficients) == 2 else -jnp.inf
            ratio = jnp.where(predicted < 0, actual / predicted, uphill)
            # At the optimum a change is rounding, and its ratio says nothing.
            rounding = 8 * float(jnp.finfo(self.value.dtype).eps) * jnp.abs(self.value)
            ratio = jnp.where((jnp.abs(predicted) <= rounding) | jnp.isnan(predicted), nan, ratio)
            return after, predicted, ratio

        looks = (step + 1) % interval == 0
        after, predicted, ratio = jax.lax.cond(looks, look, lambda: (nan, known, nan))
        return looks, after, predicted, ratio

    def _predicted(self, coefficients: Array, fisher: Array) -> Array:
        return coefficients @ self.slopes + 0.5 * coefficients @ self.gram(fisher) @ coefficients


def as_tuple(data: Any) -> tuple[Any, ...]:
    """A batch as a tree of arrays.

    Raises:
        DataError: if it is not one batch.
    """
    if isinstance(data, cv.Batch):
        return (data.x, data.y, data.weights)
    if not (isinstance(data, (tuple, list)) and len(data) in (2, 3)):
        raise cv.DataError(f"data is one batch (x, y) or (x, y, weights), got a {type(data).__name__}")
    return tuple(data)


def _shape_of(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(array.shape), jax.dtypes.canonicalize_dtype(array.dtype))
