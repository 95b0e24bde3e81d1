"""One step of natural gradient: the points that are tried, and which of them is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..approximation import built
from ..errors import SingularMatrixError
from ..matrices import GaussNewtonMatrix
from .damping import candidates_of, retries_of
from .factored import FactoredDampingSearch
from .local import Along, Local
from .plan import Plan
from .solver import Solver
from .state import State

if TYPE_CHECKING:
    from .natural_gradient import NaturalGradient

Array = Any

NEARLY = 0.9
"""A first step that gains this share of the best is as good as it."""


@dataclass(frozen=True)
class Move:
    """A step that may be taken."""

    update: Array
    direction: Array
    damping: float
    learning_rate: float
    momentum: float
    predicted: float
    after: float
    ratio: float
    accepted: bool
    memory: tuple[float, ...] = ()


class Search:
    """One step: its candidates, and which of them is taken."""

    def __init__(self, optimizer: NaturalGradient, plan: Plan, state: State, local: Local, matrix: GaussNewtonMatrix) -> None:
        self.optimizer = optimizer
        self.plan = plan
        self.state = state
        self.local = local
        self.matrix = matrix
        self.attempts = 0
        self.damping = float(state.damping or 0.0)
        self.retries = retries_of(plan.damping)
        self._solvers: dict[Any, Solver] = {}

    # The choice ---------------------------------------------------------------------------------------

    def run(self) -> Move:
        """The step that is taken, or refused; ``damping`` is then that of the next."""
        self._refresh()
        rule, interval = self.plan.damping, self.plan.damping.interval
        looks = bool(interval) and (self.state.step + 1) % interval == 0
        move = self._best(self.damping, looks=looks)
        for _ in range(self.retries):
            # At the optimum, where changes are rounding, no damping helps.
            if move.accepted or abs(move.predicted) <= self.local.rounding:
                break
            self.damping = rule.update(self.damping, -math.inf)
            move = self._best(self.damping, looks=looks)
        if self.retries and not move.accepted:
            self.damping = float(self.state.damping or 0.0)
        elif looks and not (math.isnan(move.ratio)):
            self.damping = max(rule.update(move.damping if self.retries else self.damping, move.ratio), self._floor)
        if self.retries:
            self.damping = max(self.damping, self._lowest)
        return move

    def _best(self, damping: float, *, looks: bool) -> Move:
        best: Move | None = None
        for candidate in candidates_of(self.plan.damping, damping):
            move = self._move(candidate, looks=looks)
            if best is None or (move.accepted, -_sortable(move.after)) > (best.accepted, -_sortable(best.after)):
                best = move
        assert best is not None
        return best

    def _move(self, damping: float, *, looks: bool) -> Move:
        """The step with one λ."""
        self.attempts += 1
        along = self._along(damping)
        choice = self.plan.learning_rate.choose(along)
        if choice is None:
            nowhere = self.local.params * 0.0
            return Move(nowhere, along.directions[0], damping, 0.0, 0.0, along.slopes[0], math.nan, -math.inf, False)
        coefficients = choice
        region = self.optimizer.trust_region
        if region is not None:
            shrink = region.shrink(along, coefficients)
            coefficients = [c * shrink for c in coefficients]
        along, after = self._bent(along, coefficients, damping)
        return self._judged(along, coefficients, damping, after, looks=looks)

    def _judged(self, along: Along, coefficients: list[float], damping: float, after: float, *, looks: bool) -> Move:
        local, accepted, ratio = self.local, True, math.nan
        predicted = self._predicted(along, coefficients, looks=looks)
        if looks:
            if math.isnan(after):
                after = along.value(coefficients)
            accepted = math.isfinite(after)
            if self.retries:
                downhill = after < local.value
                accepted = accepted and (downhill or self._uphill(along, coefficients, predicted, after))
                ratio = 1.0 if accepted else -math.inf
                if accepted and downhill and predicted < -local.rounding:
                    ratio = (after - local.value) / predicted
            elif not accepted:
                ratio = -math.inf
            elif not abs(predicted) <= local.rounding:  # at the optimum a change is rounding, and its ratio says nothing
                ratio = reduction_ratio(after - local.value, predicted, carried=len(coefficients) == 2)
        momentum = coefficients[1] if len(coefficients) == 2 else 0.0
        return Move(
            along.update(coefficients),
            along.directions[0],
            damping,
            coefficients[0],
            momentum,
            predicted,
            after,
            ratio,
            accepted,
            along.memory,
        )

    def _uphill(self, along: Along, coefficients: list[float], predicted: float, after: float) -> bool:
        """Whether the damping's rule takes a step that does not make the objective smaller."""
        takes, local = getattr(self.plan.damping, "takes_uphill", None), self.local
        if takes is None or local.previous is None or self.state.best is None:
            return False
        update = along.update(coefficients)
        lengths = local.dot(update, update) * local.dot(local.previous, local.previous)
        cosine = local.dot(update, local.previous) / math.sqrt(lengths) if lengths > 0 else 0.0
        return bool(takes(local.value, after, best=self.state.best, predicted=predicted, cosine=cosine))

    def _predicted(self, along: Along, coefficients: list[float], *, looks: bool) -> float:
        """M(δ) - M(0) where somebody asks for it."""
        rule = self.plan.learning_rate
        if getattr(rule, "measures", False):
            # A point on an exact direction; beyond twice its minimum the model predicts no decrease, and says nothing.
            rate = coefficients[0]
            return rate * along.slopes[0] * (1 - 0.5 * rate) if rate < 2 else math.nan
        if self.retries:
            return sum(c * s for c, s in zip(coefficients, along.slopes, strict=True)) / 2
        return along.predicted(coefficients) if looks or along.known else math.nan

    # Directions ---------------------------------------------------------------------------------------

    def _along(self, damping: float) -> Along:
        local, optimizer = self.local, self.optimizer
        right = local.gradient
        if optimizer.momentum is not None:
            space, xp = local.problem.space, local.problem.xp
            last = None if self.state.direction is None else space.ravel(xp, self.state.direction)
            right = optimizer.momentum.right_hand_side(right, last, damping)
        direction = self._solve(right, damping) * -1.0
        directions = [direction]
        if getattr(self.plan.learning_rate, "carries", False) and local.previous is not None:
            directions.append(local.previous)
        return Along(local, directions, damping)

    def _bent(self, along: Along, coefficients: list[float], damping: float) -> tuple[Along, float]:
        """The better of the straight and the accelerated step, and its objective (NaN where nobody looked)."""
        rule = self.plan.acceleration
        if rule is None:
            return along, math.nan
        local, direction = self.local, along.directions[0]
        space, xp = local.problem.space, local.problem.xp
        straight, *slopes = local.look(along.update(coefficients), *((local.gradient, d) for d in along.directions))
        along.know(coefficients, straight, slopes)
        gain = 0.5 * abs(sum(c * s for c, s in zip(coefficients, slopes, strict=True)))
        if not straight - local.value <= rule.hopeless * gain:  # NaN is not either
            return along, straight
        force = space.ravel(xp, local.matrix.bending_force(space.unravel(xp, direction)))
        bend = self._solve(force, damping) * -1.0
        bent = Along(local, along.directions, damping, bend)
        bent.memory = along.memory
        accelerated, size, speed = local.look(bent.update(coefficients), (bend, bend), (direction, direction))
        bent.know(coefficients, accelerated, slopes)
        return (bent, accelerated) if 4 * size <= rule.limit**2 * speed and accelerated < straight else (along, straight)

    def _solve(self, v: Array, damping: float) -> Array:
        solver, remaining = self._solver(damping)
        solution = solver(v, damping, remaining)
        self.state = replace(self.state, solution=solver.start)
        return solution

    # Operators ----------------------------------------------------------------------------------------

    @property
    def _floor(self) -> float:
        """What the rule says of the mean diagonal entry of F̂."""
        share = float(getattr(self.plan.damping, "floor", 0.0))
        if not share:
            return 0.0
        operator = built(self.plan.method, self.state.statistics, self._structure)
        return share * float(operator.trace()) / operator.shape[0]

    @property
    def _lowest(self) -> float:
        return max((solver.lowest for solver in self._solvers.values()), default=0.0)

    def _solver(self, damping: float) -> tuple[Solver, float]:
        """The operator for a λ and what of λ it leaves to the solution."""
        method, remaining = self.plan.method.damped(self._structural(damping))
        stays = method == self.plan.method
        several = self.retries > 0
        # With damping in its structure an operator is of the λ of its refresh, unless several are compared in a step.
        key = None if stays or not several else damping
        if key not in self._solvers:
            operator = self.state.operator if key is None else built(method, self.state.statistics, self._structure)
            assert operator is not None
            scaling = float(getattr(self.plan.damping, "scaling", 0.0))
            self._solvers[key] = Solver(
                operator,
                l2=self.optimizer.l2,
                several=several,
                scaling=scaling,
                start=self.state.solution,
                programs=self.local.problem.model.compiled,
            )
        return self._solvers[key], (remaining if self.optimizer.factored_damping is None or stays else 0.0)

    def _structural(self, damping: float) -> float:
        """λ + l2, or the γ² that was searched."""
        searched = self.optimizer.factored_damping is not None and self.state.gamma is not None
        return self.state.gamma**2 if searched else damping + self.optimizer.l2  # type: ignore[operator]

    @property
    def _structure(self) -> Any:
        return self.matrix.problem.structure.of(self.matrix)

    def _refresh(self) -> None:
        state, optimizer = self.state, self.optimizer
        rule = self.plan.refresh
        if state.operator is not None and not rule.due(state.age, state.statistics, state.built):
            return
        search = optimizer.factored_damping
        if search is not None and state.operator is not None and state.step % search.interval == 0:
            self.state = self._with_gamma(search)
        damping = self._structural(self.damping)
        operator = built(self.plan.method.damped(damping)[0], self.state.statistics, self._structure)
        self.state = replace(self.state, operator=operator, built=state.statistics, built_damping=damping, age=0)

    def _with_gamma(self, search: FactoredDampingSearch) -> State:
        """The γ whose step the exact quadratic model likes best."""
        best, found = math.inf, self.state.gamma
        for gamma in search.candidates(self.state.gamma or search.minimum):
            method, _ = self.plan.method.damped(gamma**2)
            operator = built(method, self.state.statistics, self._structure)
            along = Along(self.local, [operator.solve(self.local.gradient) * -1.0], self.damping)
            if self.local.previous is not None:
                along.directions.append(self.local.previous)
            predicted = along.predicted(self.plan.learning_rate.choose(along) or [0.0] * len(along.directions))
            if predicted < best:
                best, found = predicted, gamma
        return replace(self.state, gamma=found)

    # The start ----------------------------------------------------------------------------------------

    @classmethod
    def calibrated(cls, optimizer: NaturalGradient, plan: Plan, state: State, local: Local, matrix: GaussNewtonMatrix) -> float:
        """λ to begin with, from the curvature along the gradient, s = ∇hᵀF∇h / ‖∇h‖².

        A rule that tries again at once finds the rest of the way itself, and begins with 1e-6 of the size of the matrix, or of s
        where that is not known. Of any other λ = s, s/10, …, 1e-6 s are tried, down to the rule's floor, and the smallest
        whose first step gains ``NEARLY`` as much as the best is taken (s where none gains): one step says little, and a λ that
        is too large falls slowly.
        """
        squared = local.dot(local.gradient, local.gradient)
        scale = local.forms([local.gradient])[0][0] / squared if squared > 0 else 1.0
        scale = scale if math.isfinite(scale) and scale > 0 else 1.0
        if retries_of(plan.damping):
            trial = cls(optimizer, plan, replace(state, damping=scale), local, matrix)
            trial._refresh()
            return 1e-6 * (trial._solver(scale)[0].size or scale)
        gains: list[tuple[float, float]] = []
        lowest = cls(optimizer, plan, state, local, matrix)._floor
        for power in range(7):
            damping = max(scale * 10.0**-power, lowest)
            trial = cls(optimizer, plan, replace(state, damping=damping, gamma=None), local, matrix)
            try:
                trial._refresh()
                move = trial._move(damping, looks=True)
            except SingularMatrixError:  # a smaller one is not solved for either
                break
            gains.append((local.value - move.after, damping))
            if damping == lowest:
                break
        best = max((gain for gain, _ in gains if math.isfinite(gain)), default=0.0)
        near = [damping for gain, damping in gains if gain >= NEARLY * best > 0]
        return min(near, default=scale)


def reduction_ratio(actual: float, predicted: float, *, carried: bool) -> float:
    """ρ = actual / predicted, NaN where the model is.

    A step that the model itself expects to lead uphill has ρ = -∞; but where momentum carried it there, ρ = predicted / actual,
    at most 1, which is small like any other ρ where the objective does worse than the model.
    """
    if predicted < 0 or math.isnan(predicted):
        return actual / predicted
    if not carried:
        return -math.inf
    return 1.0 if actual <= predicted else predicted / actual


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else math.inf
