"""Natural-gradient descent with any approximation of the Fisher information."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..approximation import MovingAverage, as_method, built
from ..errors import DataError
from ..matrices import GGN, EmpiricalFisher, Fisher, GaussNewtonMatrix, MonteCarloFisher, bending_force
from ..problem import Problem
from ..trees import tree_map
from . import packing
from .acceleration import GeodesicAcceleration
from .damping import Damping, as_damping, candidates_of, retries_of
from .factored import FactoredDampingSearch
from .failures import culprit
from .local import Along, Local
from .momentum import Momentum, as_momentum
from .objective import Loss, Objective
from .plan import Options, Plan, choose
from .refresh import Refresh, as_refresh
from .solver import Solver
from .state import State, StepInfo
from .step_size import LearningRate, as_learning_rate, is_number
from .trust_region import TrustRegion, as_trust_region

Array = Any
Tree = Any

FISHERS = ("exact", "monte-carlo", "empirical", "ggn")
STEPS_LOST = 3
"""So many steps in a row that leave the numbers end a run."""


class NaturalGradient:
    """θ ← θ + δ, δ = -α (F̂ + (λ + l2) I)⁻¹ ∇h + μ δ_prev, h = L + (l2/2) ‖θ‖².

    ``NaturalGradient()`` chooses everything for the problem (``curvature.optim.choose`` says how); what is given here stays.

    Args:
        approximation: name, class or instance of the approximation F̂; "auto": chosen.
        fisher: which matrix is approximated: "exact", "monte-carlo", "empirical", "ggn", a function problem -> matrix, or
            "auto": exact for few outputs, else Monte Carlo.
        damping: λ, a number or a rule: ``Constant``, ``LevenbergMarquardt``, ``DelayedGratification``, ``DampingSearch``, or any
            object like them (``curvature.optim.Damping``).
        learning_rate: α, a number or a rule: ``QuadraticModel()`` (α and μ from the exact quadratic model),
            ``Backtracking()``, ``LineSearch()``, or any object like them (``curvature.optim.LearningRate``).
        momentum: μ where the learning rate is a number, or a rule such as ``Spring()``.
        acceleration: ``GeodesicAcceleration()``, or None.
        factored_damping: ``FactoredDampingSearch()``: γ of Kronecker methods apart from λ; None: γ = √(λ + l2).
        trust_region: upper bound of ½ δᵀFδ, which approximates the Kullback-Leibler divergence of a step, or a rule:
            ``KLTrustRegion``, ``FisherNorm``, ``NormConstraint``, or any object like them; None for none.
        objective: what is made smaller, with F as the metric (``curvature.optim.Objective``); None: the loss of the problem.
        l2: weight of (1/2) ‖θ‖² in the objective.
        weight_decay: θ ← (1 - α · weight_decay) θ beside the step, apart from the objective (Loshchilov and Hutter 2019).
        decay: ε of the moving average of the statistics, min(1 - 1/k, decay) at their k-th update; 0 keeps the last only.
            None: 0.95, but 0 for a step on all of the problem's own data with a matrix that is not drawn at random.
        averaging: ξ of the Polyak average of the parameters, ε = min(1 - 1/k, ξ), which ``averaged(state)`` returns; 0 for none.
        statistics_every: steps between updates of the statistics.
        statistics_share: share of the examples of a batch that the statistics are taken from (the first ones: minibatches are
            shuffled). Averaged over steps, 1/8 of a large batch does as well as all of it.
        model_share: share that the quadratic model's products with F are taken from. (Both: Martens and Grosse 2015, §8.)
        refresh_every: steps between refreshes of the operator built from them, or a rule such as ``Drift()``.
        seed: seed of the Monte Carlo Fisher's draws.

    Sources: Amari (1998); Martens and Grosse (2015); Transtrum and Sethna (2012).
    """

    def __init__(
        self,
        approximation: Any = "auto",
        *,
        fisher: str | Callable[[Problem], GaussNewtonMatrix] = "auto",
        damping: float | Damping | None = None,
        learning_rate: float | LearningRate | None = None,
        momentum: float | Momentum = 0.0,
        acceleration: GeodesicAcceleration | None = None,
        factored_damping: FactoredDampingSearch | None = None,
        trust_region: float | TrustRegion | None = None,
        objective: Objective | None = None,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        decay: float | None = None,
        averaging: float = 0.0,
        statistics_every: int = 1,
        statistics_share: float = 1.0,
        model_share: float = 1.0,
        refresh_every: int | Refresh = 1,
        seed: int = 0,
    ) -> None:
        method = None if isinstance(approximation, str) and approximation == "auto" else as_method(approximation)
        if not (callable(fisher) or fisher == "auto" or fisher in FISHERS):
            raise DataError(f"fisher is one of {', '.join(FISHERS)} or a function of a problem, got {fisher!r}")
        if not (isinstance(statistics_every, int) and statistics_every >= 1):
            raise DataError(f"statistics_every is a positive integer, got {statistics_every!r}")
        bounds = (("decay", decay or 0.0, 1.0), ("averaging", averaging, 1.0), ("l2", l2, math.inf))
        for name, number, below in (*bounds, ("weight_decay", weight_decay, math.inf)):
            if not (is_number(number) and 0 <= number < below):
                raise DataError(f"{name} lies in [0, {below:g}), got {number!r}")
        for name, share in (("statistics_share", statistics_share), ("model_share", model_share)):
            if not (is_number(share) and 0 < share <= 1):
                raise DataError(f"{name} lies in (0, 1], got {share!r}")
        if not (isinstance(seed, int) and seed >= 0):
            raise DataError(f"seed is an integer ≥ 0, got {seed!r}")
        if acceleration is not None and not isinstance(acceleration, GeodesicAcceleration):
            raise DataError(f"acceleration is GeodesicAcceleration() or None, got {acceleration!r}")
        if factored_damping is not None and not isinstance(factored_damping, FactoredDampingSearch):
            raise DataError(f"factored_damping is FactoredDampingSearch() or None, got {factored_damping!r}")
        if objective is not None and not (hasattr(objective, "value") and hasattr(objective, "value_and_gradient")):
            raise DataError(f"an objective has the methods value(problem) and value_and_gradient(problem), got {objective!r}")
        # Python numbers: a NumPy scalar would promote float32 arrays.
        heavy_ball, self.momentum = as_momentum(momentum)
        self.options = Options(
            approximation=method,
            fisher=None if fisher == "auto" else fisher,
            damping=None if damping is None else as_damping(damping),
            learning_rate=None if learning_rate is None else as_learning_rate(learning_rate, heavy_ball),
            acceleration=acceleration,
            decay=decay,
            momentum=heavy_ball,
            objective=Loss() if objective is None else objective,
        )
        self.objective = self.options.objective
        self.factored_damping = factored_damping
        self.trust_region = as_trust_region(trust_region)
        self.l2 = float(l2)
        self.weight_decay = float(weight_decay)
        self.averaging = float(averaging)
        self.statistics_every = statistics_every
        self.statistics_share = float(statistics_share)
        self.model_share = float(model_share)
        self.refresh = as_refresh(refresh_every)
        self.seed = seed

    def init(self, problem: Problem) -> State:
        """The state at the start, for the model and likelihood of ``problem``."""
        given: Any = problem
        if not isinstance(given, Problem):
            raise DataError(f"init takes a curvature.Problem, got a {type(given).__name__}")
        return State(problem=problem)

    def step(
        self, params: Tree, state: State, data: Any = None, *, gradient: Tree = None, loss: Any = None
    ) -> tuple[Tree, State, StepInfo]:
        """One update on ``data`` (a batch, or several; by default the problem's own).

        Args:
            gradient: ∇L where it is known already, a params tree; ``loss`` is then L, by default computed.

        Returns:
            (params, state, info).

        A step that leaves the numbers (the objective is no longer finite) is taken back at once where its objective is looked
        at, else at the next call; then ``info.accepted`` is False and the damping is higher.

        Raises:
            DivergedError: if the objective or its gradient is not finite and there is no step to take back, no rule that could
                do better, or it is the third time in a row; names the example. Its ``params`` are the last good ones.
        """
        sampled = getattr(self.objective, "sample", None)
        minibatch = data is not None
        if data is None and sampled is not None:
            data = sampled(params)
        problem = state.problem.at(params, data, keep=True)
        if state.plan is None:
            state = replace(state, plan=choose(self.options, problem, minibatch=minibatch))
        plan = state.plan
        assert plan is not None
        local = self._look(problem, plan, state, params, gradient, loss)
        squared_norm = local.dot(local.gradient, local.gradient)
        if not (math.isfinite(local.value) and math.isfinite(squared_norm)):
            return self._step_back(state, plan, local, squared_norm)
        matrix = self._matrix(plan, _part(problem, self.statistics_share), state.step)
        state = self._with_statistics(state, plan, matrix)
        state = self._with_damping(state, plan, local, matrix)
        assert state.damping is not None
        search = _Search(self, plan, state, local, matrix)
        move = search.run()
        state, damping = search.state, search.damping
        moved = problem.space.unravel(problem.xp, local.params + move.update) if move.accepted else params
        if self.weight_decay and move.accepted:
            keep = 1.0 - self.weight_decay * abs(move.learning_rate)
            moved = tree_map(lambda a, p: a + p * (keep - 1.0), moved, params)
        info = StepInfo(
            loss=local.value,
            gradient_norm=squared_norm**0.5,
            damping=move.damping,
            learning_rate=move.learning_rate,
            momentum=move.momentum,
            predicted=move.predicted,
            ratio=move.ratio,
            accepted=move.accepted,
            attempts=search.attempts,
        )
        unravel = problem.space.unravel
        following = replace(
            state,
            step=state.step + 1,
            age=state.age + 1,
            damping=damping,
            velocity=unravel(problem.xp, move.update) if move.accepted else None,
            direction=unravel(problem.xp, move.direction) if self.momentum is not None else None,
            rate=abs(move.learning_rate) if move.accepted and move.learning_rate else state.rate,
            previous=params,
            failures=0 if move.accepted and not math.isinf(move.ratio) else state.failures,
            average=self._averaged(state, moved),
        )
        return moved, following, info

    def averaged(self, state: State) -> Tree:
        """The Polyak average of the parameters.

        Raises:
            DataError: without ``averaging``, or before the first step.
        """
        if state.average is None:
            raise DataError("there is no average of the parameters: pass NaturalGradient(averaging=0.99), and take a step")
        return state.average

    def state_dict(self, state: State) -> dict[str, Any]:
        """The state as a nested dictionary of arrays, numbers and strings, from which a run goes on bit for bit."""
        return packing.packed(state)

    def load_state_dict(self, problem: Problem, packed: dict[str, Any]) -> State:
        """The state of a ``state_dict``, for the same problem.

        Raises:
            DataError: for a state of another model, other rules or another version, naming what differs.
        """
        return packing.unpacked(packed, problem, self.options)

    # Parts of a step ----------------------------------------------------------------------------------

    def _look(self, problem: Problem, plan: Plan, state: State, params: Tree, gradient: Tree, loss: Any) -> Local:
        """The objective and its gradient."""
        xp, space = problem.xp, problem.space
        if gradient is None:
            loss, gradient = self.objective.value_and_gradient(problem)
        elif loss is None:
            loss = self.objective.value(problem)
        theta, slope = space.ravel(xp, params), space.ravel(xp, gradient, what="the gradient")
        value = float(loss)
        if self.l2:
            value, slope = value + 0.5 * self.l2 * float(xp.sum(theta * theta)), slope + theta * self.l2
        previous = None if state.velocity is None else space.ravel(xp, state.velocity)
        exact = self._exact(plan, _part(problem, self.model_share))
        return Local(problem, self.objective, theta, slope, value, exact, self.l2, previous, state.rate)

    def _step_back(self, state: State, plan: Plan, local: Local, squared_norm: float) -> tuple[Tree, State, StepInfo]:
        """The last step left the numbers: take it back, and be more careful."""
        failures = state.failures + 1
        if state.previous is None or not plan.damping.interval or failures >= STEPS_LOST or state.damping is None:
            raise culprit(local, squared_norm, state, failures)
        damping = plan.damping.update(state.damping, -math.inf)
        info = StepInfo(local.value, squared_norm**0.5, state.damping, 0.0, 0.0, math.nan, -math.inf, False)
        # What was averaged holds what led here.
        following = State(
            problem=state.problem,
            plan=state.plan,
            step=state.step + 1,
            damping=damping,
            gamma=state.gamma,
            rate=state.rate,
            previous=state.previous,
            average=state.average,
            failures=failures,
        )
        return state.previous, following, info

    def _matrix(self, plan: Plan, problem: Problem, step: int) -> GaussNewtonMatrix:
        if callable(plan.fisher):
            matrix: Any = plan.fisher(problem)
            if not isinstance(matrix, GaussNewtonMatrix):
                raise DataError(
                    f"fisher(problem) returned a {type(matrix).__name__}, not a matrix such as curvature.GGN(problem)"
                )
            return matrix
        if plan.fisher == "monte-carlo":
            return MonteCarloFisher(problem, seed=(self.seed, step))
        if plan.fisher == "empirical":
            return EmpiricalFisher(problem)
        return GGN(problem) if plan.fisher == "ggn" else Fisher(problem)

    def _exact(self, plan: Plan, problem: Problem) -> GaussNewtonMatrix:
        """The matrix of the quadratic model, also where the approximation is estimated from draws or scores."""
        if callable(plan.fisher):
            return self._matrix(plan, problem, 0)
        return GGN(problem) if plan.fisher == "ggn" else Fisher(problem)

    def _with_statistics(self, state: State, plan: Plan, matrix: GaussNewtonMatrix) -> State:
        if state.statistics is not None and state.step % self.statistics_every:
            return state
        average = MovingAverage(plan.method, plan.decay, state.statistics, state.updates).update(matrix)
        return replace(state, statistics=average.statistics, updates=average.updates)

    def _with_damping(self, state: State, plan: Plan, local: Local, matrix: GaussNewtonMatrix) -> State:
        """λ, and γ where it is searched, at the first step."""
        damping, gamma = state.damping, state.gamma
        if damping is None:
            damping = plan.damping.initial
            damping = _Search.calibrated(self, plan, state, local, matrix) if damping is None else float(damping)
        if gamma is None and self.factored_damping is not None:
            gamma = (damping + self.l2) ** 0.5
        return replace(state, damping=damping, gamma=gamma)

    def _averaged(self, state: State, params: Tree) -> Tree:
        if not self.averaging:
            return None
        if state.average is None:
            return params
        share = min(1.0 - 1.0 / (state.step + 1), self.averaging)
        return tree_map(lambda a, p: a * share + p * (1.0 - share), state.average, params)


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


class _Search:
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
        while self.retries and not move.accepted and self.attempts <= self.retries:
            if abs(move.predicted) <= self.local.rounding:
                break  # at the optimum, where changes are rounding, no damping helps
            self.damping = rule.update(self.damping, -math.inf)
            move = self._best(self.damping, looks=looks)
        if self.retries and not move.accepted:
            self.damping = float(self.state.damping or 0.0)
        elif looks and not (math.isnan(move.ratio)):
            self.damping = rule.update(move.damping if self.retries else self.damping, move.ratio)
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
            return Move(nowhere, along.directions[0] * -1.0, damping, 0.0, 0.0, along.slopes[0], math.nan, -math.inf, False)
        coefficients = choice
        region = self.optimizer.trust_region
        if region is not None:
            shrink = region.shrink(along, coefficients)
            coefficients = [c * shrink for c in coefficients]
        along, after = self._bent(along, coefficients, damping, looks=looks)
        return self._judged(along, coefficients, damping, after, looks=looks)

    def _judged(self, along: Along, coefficients: list[float], damping: float, after: float, *, looks: bool) -> Move:
        local, accepted, ratio = self.local, True, math.nan
        predicted = self._predicted(along, coefficients, looks=looks)
        if looks:
            if math.isnan(after):
                after = along.value(coefficients)
            accepted = math.isfinite(after)
            if self.retries:
                accepted = accepted and after < local.value
                ratio = 1.0 if accepted else -math.inf
                if accepted and predicted < -local.rounding:
                    ratio = (after - local.value) / predicted
            elif not accepted:
                ratio = -math.inf
            elif not abs(predicted) <= local.rounding:  # at the optimum a change is rounding, and its ratio says nothing
                ratio = (after - local.value) / predicted if predicted < 0 else math.nan if math.isnan(predicted) else -math.inf
        momentum = coefficients[1] if len(coefficients) == 2 else 0.0
        update, direction = along.update(coefficients), along.directions[0] * -1.0
        return Move(update, direction, damping, coefficients[0], momentum, predicted, after, ratio, accepted)

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

    def _bent(self, along: Along, coefficients: list[float], damping: float, *, looks: bool) -> tuple[Along, float]:
        """The better of the straight and the accelerated step, and its objective (NaN where nobody looked)."""
        rule = self.plan.acceleration
        if rule is None:
            return along, math.nan
        local, direction = self.local, along.directions[0]
        space, xp = local.problem.space, local.problem.xp
        after = local.at(along.update(coefficients))
        straight, *slopes = local.numbers(after, *(xp.sum(local.gradient * d) for d in along.directions))
        along.know(coefficients, straight, slopes)
        gain = 0.5 * abs(sum(c * s for c, s in zip(coefficients, slopes, strict=True)))
        if not straight - local.value <= rule.hopeless * gain:  # NaN is not either
            return along, straight
        force = space.ravel(xp, bending_force(local.matrix, space.unravel(xp, direction)))
        bend = self._solve(force, damping) * -1.0
        bent = Along(local, along.directions, damping, bend)
        size, speed, accelerated = local.numbers(
            xp.sum(bend * bend), xp.sum(direction * direction), local.at(bent.update(coefficients))
        )
        bent.know(coefficients, accelerated, slopes)
        return (bent, accelerated) if 4 * size <= rule.limit**2 * speed and accelerated < straight else (along, straight)

    def _solve(self, v: Array, damping: float) -> Array:
        solver, remaining = self._solver(damping)
        solution = solver(v, damping, remaining)
        self.state = replace(self.state, solution=solver.start)
        return solution

    # Operators ----------------------------------------------------------------------------------------

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
                operator, l2=self.optimizer.l2, several=several, scaling=scaling, start=self.state.solution
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
        rule = optimizer.refresh
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
        where that is not known. Any other begins with the
        power of ten times s, from s to 1e-6 s, whose first step makes the objective smallest.
        """
        squared = local.dot(local.gradient, local.gradient)
        scale = local.forms([local.gradient])[0][0] / squared if squared > 0 else 1.0
        scale = scale if math.isfinite(scale) and scale > 0 else 1.0
        if retries_of(plan.damping):
            trial = cls(optimizer, plan, replace(state, damping=scale), local, matrix)
            trial._refresh()
            return 1e-6 * (trial._solver(scale)[0].size or scale)
        best, found = math.inf, scale
        for power in range(7):
            damping = scale * 10.0**-power
            trial = cls(optimizer, plan, replace(state, damping=damping, gamma=None), local, matrix)
            trial._refresh()
            move = trial._move(damping, looks=True)
            if move.after < best:
                best, found = move.after, damping
        return found


def _part(problem: Problem, share: float) -> Problem:
    """The problem on the first examples of its batch."""
    batch = problem.data.single
    if share == 1.0 or batch is None:
        return problem
    return problem.at(data=batch.part(slice(0, max(1, math.ceil(share * batch.size)))), keep=True)


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else math.inf
