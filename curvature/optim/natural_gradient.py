"""Natural-gradient descent with any approximation of the Fisher information."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..approximation import MovingAverage, as_method, built
from ..errors import DataError
from ..matrices import GGN, EmpiricalFisher, Fisher, GaussNewtonMatrix, MonteCarloFisher
from ..problem import Problem
from .damping import Damping, LevenbergMarquardt, as_damping
from .state import State, StepInfo
from .step_size import Backtracking, QuadraticModel, StepSize, as_step_size, is_number, minimise_quadratic
from .vectors import add, combine, dot, scale

Tree = Any

FISHERS = ("exact", "monte-carlo", "empirical", "ggn")
AUTOMATIC_DAMPING = LevenbergMarquardt()
AUTOMATIC_STEP = QuadraticModel()


class NaturalGradient:
    """θ ← θ + δ, δ = -α (F̂ + (λ + l2) I)⁻¹ ∇h + μ δ_prev, h = L + (l2/2) ‖θ‖².

    Args:
        approximation: name, class or instance of the approximation F̂.
        fisher: which matrix is approximated: "exact", "monte-carlo", "empirical", "ggn", or a function problem -> matrix.
        damping: λ, a number, ``Constant`` or ``LevenbergMarquardt``.
        learning_rate: α, a number, ``QuadraticModel()`` (α and μ from the exact quadratic model) or ``Backtracking()``.
        momentum: μ where the learning rate is a number.
        trust_region: upper bound of ½ δᵀFδ, which approximates the Kullback-Leibler divergence of a step; None for none.
        l2: weight of (1/2) ‖θ‖² in the objective.
        decay: ε of the moving average of the statistics, min(1 - 1/k, decay) at their k-th update; 0 keeps the last only.
            None: 0.95, but 0 for a step on all of the problem's own data with a matrix that is not drawn at random.
        statistics_every, refresh_every: steps between updates of the statistics, and of the operator built from them.
        seed: seed of the Monte Carlo Fisher's draws.

    Sources: Amari (1998); Martens and Grosse (2015).
    """

    def __init__(
        self,
        approximation: Any = "kfac",
        *,
        fisher: str | Callable[[Problem], GaussNewtonMatrix] = "exact",
        damping: float | Damping = AUTOMATIC_DAMPING,
        learning_rate: StepSize = AUTOMATIC_STEP,
        momentum: float = 0.0,
        trust_region: float | None = None,
        l2: float = 0.0,
        decay: float | None = None,
        statistics_every: int = 1,
        refresh_every: int = 1,
        seed: int = 0,
    ) -> None:
        self.method = as_method(approximation)
        if not (callable(fisher) or fisher in FISHERS):
            raise DataError(f"fisher is one of {', '.join(FISHERS)} or a function of a problem, got {fisher!r}")
        for name, value in (("statistics_every", statistics_every), ("refresh_every", refresh_every)):
            if not (isinstance(value, int) and value >= 1):
                raise DataError(f"{name} is a positive integer, got {value!r}")
        for name, number, below in (("momentum", momentum, 1.0), ("decay", decay or 0.0, 1.0), ("l2", l2, math.inf)):
            if not (is_number(number) and 0 <= number < below):
                raise DataError(f"{name} lies in [0, {below:g}), got {number!r}")
        if trust_region is not None and not (is_number(trust_region) and trust_region > 0):
            raise DataError(f"trust_region is a positive bound or None, got {trust_region!r}")
        if not (isinstance(seed, int) and seed >= 0):
            raise DataError(f"seed is an integer ≥ 0, got {seed!r}")
        if momentum and not is_number(learning_rate):
            raise DataError(f"momentum={momentum} goes with a learning rate that is a number; {learning_rate!r} has its own rule")
        self.fisher = fisher
        self.damping: Damping = as_damping(damping)
        # Python numbers: a NumPy scalar would promote float32 arrays.
        self.learning_rate = as_step_size(learning_rate)
        self.momentum = float(momentum)
        self.trust_region = None if trust_region is None else float(trust_region)
        self.l2 = float(l2)
        self.decay = decay
        self.statistics_every = statistics_every
        self.refresh_every = refresh_every
        self.seed = seed

    def init(self, problem: Problem) -> State:
        """The state at the start, for the model and likelihood of ``problem``."""
        given: Any = problem
        if not isinstance(given, Problem):
            raise DataError(f"init takes a curvature.Problem, got a {type(given).__name__}")
        return State(problem=problem, step=0, damping=float(self.damping.initial))

    def step(self, params: Tree, state: State, data: Any = None) -> tuple[Tree, State, StepInfo]:
        """One update on ``data`` (a batch, or several; by default the problem's own).

        Returns:
            (params, state, info).

        A step that the damping rule finds to have left the numbers (the objective is no longer finite) is taken back at
        once, or at the next call; then ``info.accepted`` is False and the damping is higher.

        Raises:
            DataError: if the objective or its gradient is not finite and there is no step to take back or no rule to follow;
                ``state.previous`` holds the parameters before the last step.
        """
        problem = state.problem.at(params, data, keep=True)
        loss, gradient = problem.loss_and_gradient()
        objective = float(loss) + 0.5 * self.l2 * dot(params, params)
        if self.l2:
            gradient = combine(1.0, gradient, self.l2, params)
        squared_norm = dot(gradient, gradient)
        if not (math.isfinite(objective) and math.isfinite(squared_norm)):
            if state.previous is not None and self.damping.interval:
                return self._step_back(state, objective, squared_norm)
            raise DataError(
                f"step {state.step}: the objective is {objective}, its gradient's norm {squared_norm**0.5}; lower the learning "
                f"rate or raise the damping"
            )
        matrix = self._matrix(problem, state.step)
        state = self._with_statistics(state, matrix, minibatch=data is not None)
        state = self._with_operator(state, matrix)
        assert state.operator is not None
        # What the method does not put into its structure is today's λ, also where the operator is of an earlier step.
        remaining = self.method.damped(state.damping + self.l2)[1]
        solve_from = getattr(state.operator, "solve_from", None)
        if solve_from is None:
            solution = state.operator.solve(gradient, damping=remaining)
        else:
            solution = solve_from(gradient, state.solution, remaining)
            state = replace(state, solution=solution)
        direction = scale(-1.0, solution)
        move = self._choose(problem, matrix, state, params, direction, gradient, objective)
        moved = add(params, move.update)
        ratio, damping, accepted = math.nan, state.damping, move.accepted
        if self.damping.interval and (state.step + 1) % self.damping.interval == 0:
            after = self._objective(problem, moved)
            accepted = accepted and math.isfinite(after)
            # At the optimum a change is rounding, and its ratio says nothing.
            noise = 8 * float(problem.xp.finfo(problem.model.dtype).eps) * abs(objective)
            if not accepted or abs(move.predicted) > noise:
                ratio = (after - objective) / move.predicted if move.predicted < 0 else -math.inf
                damping = self.damping.update(damping, ratio if accepted else -math.inf)
        info = StepInfo(
            loss=objective,
            gradient_norm=squared_norm**0.5,
            damping=state.damping,
            learning_rate=move.learning_rate,
            momentum=move.momentum,
            predicted=move.predicted,
            ratio=ratio,
            accepted=accepted,
        )
        velocity = move.update if accepted else None
        following = replace(state, step=state.step + 1, damping=damping, velocity=velocity, previous=params)
        return (moved if accepted else params), following, info

    def _step_back(self, state: State, objective: float, squared_norm: float) -> tuple[Tree, State, StepInfo]:
        """The last step left the numbers: take it back, and be more careful."""
        damping = self.damping.update(state.damping, -math.inf)
        info = StepInfo(objective, squared_norm**0.5, state.damping, 0.0, 0.0, math.nan, -math.inf, False)
        following = replace(
            state,
            step=state.step + 1,
            damping=damping,
            velocity=None,
            previous=None,
            statistics=None,
            operator=None,
            solution=None,
            updates=0,
        )
        return state.previous, following, info

    # Parts of a step ----------------------------------------------------------------------------------

    def _matrix(self, problem: Problem, step: int) -> GaussNewtonMatrix:
        if callable(self.fisher):
            matrix: Any = self.fisher(problem)
            if not isinstance(matrix, GaussNewtonMatrix):
                raise DataError(
                    f"fisher(problem) returned a {type(matrix).__name__}, not a matrix such as curvature.GGN(problem)"
                )
            return matrix
        if self.fisher == "monte-carlo":
            return MonteCarloFisher(problem, seed=(self.seed, step))
        if self.fisher == "empirical":
            return EmpiricalFisher(problem)
        return GGN(problem) if self.fisher == "ggn" else Fisher(problem)

    def _with_statistics(self, state: State, matrix: GaussNewtonMatrix, *, minibatch: bool) -> State:
        if state.statistics is not None and state.step % self.statistics_every:
            return state
        decay = self.decay
        if decay is None:
            # Old statistics are only worth keeping where the new ones are noisy.
            decay = 0.95 if minibatch or self.fisher == "monte-carlo" else 0.0
        average = MovingAverage(self.method, decay, state.statistics, state.updates).update(matrix)
        return replace(state, statistics=average.statistics, updates=average.updates)

    def _with_operator(self, state: State, matrix: GaussNewtonMatrix) -> State:
        if state.operator is not None and state.step % self.refresh_every:
            return state
        method, _ = self.method.damped(state.damping + self.l2)
        return replace(state, operator=built(method, state.statistics, matrix.problem.structure.of(matrix)))

    def _objective(self, problem: Problem, params: Tree) -> float:
        return float(problem.at(params).loss()) + 0.5 * self.l2 * dot(params, params)

    def _choose(
        self,
        problem: Problem,
        matrix: GaussNewtonMatrix,
        state: State,
        params: Tree,
        direction: Tree,
        gradient: Tree,
        objective: float,
    ) -> _Move:
        """The update along ``direction``, and what the quadratic model predicts of it."""
        if isinstance(self.learning_rate, Backtracking):
            initial = self.learning_rate.initial
            if self.trust_region is not None:
                divergence = 0.5 * self._quadratic_forms(problem, matrix, [direction])[0][0]
                initial = min(initial, math.sqrt(self.trust_region / divergence)) if divergence > 0 else initial
            capped = replace(self.learning_rate, initial=initial)
            return self._backtrack(problem, params, direction, gradient, objective, capped)
        step_size = self.learning_rate
        directions = [direction]
        carries = step_size.momentum if isinstance(step_size, QuadraticModel) else self.momentum > 0
        if carries and state.velocity is not None:
            directions.append(state.velocity)
        slopes = [dot(gradient, d) for d in directions]
        needed = isinstance(step_size, QuadraticModel) or self.trust_region is not None or self.damping.interval
        fisher = self._quadratic_forms(problem, matrix, directions) if needed else None
        shift = state.damping + self.l2
        gram = None
        if fisher is not None:
            gram = [
                [fisher[i][j] + shift * dot(directions[i], directions[j]) for j in range(len(directions))]
                for i in range(len(directions))
            ]
        if isinstance(step_size, QuadraticModel):
            assert gram is not None
            coefficients = minimise_quadratic(gram, slopes)
        else:
            coefficients = [float(step_size), self.momentum][: len(directions)]
        if self.trust_region is not None and fisher is not None:
            divergence = 0.5 * _form(fisher, coefficients)
            if divergence > self.trust_region:
                shrink = math.sqrt(self.trust_region / divergence)
                coefficients = [c * shrink for c in coefficients]
        predicted = math.nan
        if gram is not None:
            predicted = sum(c * s for c, s in zip(coefficients, slopes, strict=True)) + 0.5 * _form(gram, coefficients)
        update = scale(coefficients[0], directions[0])
        if len(directions) == 2:
            update = combine(1.0, update, coefficients[1], directions[1])
        return _Move(update, coefficients[0], coefficients[1] if len(coefficients) == 2 else 0.0, predicted, True)

    def _quadratic_forms(self, problem: Problem, matrix: GaussNewtonMatrix, directions: list[Tree]) -> list[list[float]]:
        """Dᵀ F D with the exact matrix, also where the approximation was estimated from draws or scores."""
        exact = GGN(problem) if self.fisher == "ggn" else matrix if callable(self.fisher) else Fisher(problem)
        form = problem.backend.to_numpy(exact.quadratic_forms(directions))
        return [[float(entry) for entry in row] for row in form]

    def _backtrack(
        self, problem: Problem, params: Tree, direction: Tree, gradient: Tree, objective: float, rule: Backtracking
    ) -> _Move:
        slope = dot(gradient, direction)
        rate = rule.initial
        # At the optimum the decrease is below what rounding of the objective shows.
        slack = 4 * float(problem.xp.finfo(problem.model.dtype).eps) * abs(objective)
        for _ in range(rule.halvings + 1):
            update = scale(rate, direction)
            after = self._objective(problem, add(params, update))
            if math.isfinite(after) and after <= objective + rule.slope * rate * slope + slack:
                # The model along an exact direction; beyond twice its minimum it predicts no decrease, and says nothing.
                predicted = rate * slope * (1 - 0.5 * rate) if rate < 2 else math.nan
                return _Move(update, rate, 0.0, predicted, True)
            rate *= 0.5
        return _Move(scale(0.0, direction), 0.0, 0.0, 0.0, False)


@dataclass(frozen=True)
class _Move:
    update: Tree
    learning_rate: float
    momentum: float
    predicted: float
    accepted: bool


def _form(matrix: list[list[float]], c: list[float]) -> float:
    return sum(c[i] * matrix[i][j] * c[j] for i in range(len(c)) for j in range(len(c)))
