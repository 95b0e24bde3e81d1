"""Natural-gradient descent with any approximation of the Fisher information."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..approximation import MovingAverage, as_method
from ..errors import DataError
from ..matrices import GGN, EmpiricalFisher, Fisher, GaussNewtonMatrix, MonteCarloFisher
from ..problem import Problem
from ..trees import tree_map
from . import packing
from .acceleration import GeodesicAcceleration
from .damping import Damping, as_damping
from .factored import FactoredDampingSearch
from .failures import culprit
from .local import Local
from .momentum import Momentum, as_momentum
from .objective import Loss, Objective
from .plan import Options, Plan, choose
from .refresh import Refresh, as_refresh
from .search import Search
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
            None: 0.98 with ``AveragedModel``, else 0.
        statistics_every: steps between updates of the statistics; None: chosen.
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
        averaging: float | None = None,
        statistics_every: int | None = None,
        statistics_share: float | None = None,
        model_share: float | None = None,
        refresh_every: int | Refresh | None = None,
        seed: int = 0,
    ) -> None:
        method = None if isinstance(approximation, str) and approximation == "auto" else as_method(approximation)
        if not (callable(fisher) or fisher == "auto" or fisher in FISHERS):
            raise DataError(f"fisher is one of {', '.join(FISHERS)} or a function of a problem, got {fisher!r}")
        if not (statistics_every is None or (isinstance(statistics_every, int) and statistics_every >= 1)):
            raise DataError(f"statistics_every is a positive integer, got {statistics_every!r}")
        bounds = (("decay", decay or 0.0, 1.0), ("averaging", averaging or 0.0, 1.0), ("l2", l2, math.inf))
        for name, number, below in (*bounds, ("weight_decay", weight_decay, math.inf)):
            if not (is_number(number) and 0 <= number < below):
                raise DataError(f"{name} lies in [0, {below:g}), got {number!r}")
        for name, share in (("statistics_share", statistics_share), ("model_share", model_share)):
            if not (share is None or (is_number(share) and 0 < share <= 1)):
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
            refresh=None if refresh_every is None else as_refresh(refresh_every),
            statistics_share=None if statistics_share is None else float(statistics_share),
            model_share=None if model_share is None else float(model_share),
            statistics_every=statistics_every,
            averaging=None if averaging is None else float(averaging),
        )
        self.objective = self.options.objective
        self.factored_damping = factored_damping
        self.trust_region = as_trust_region(trust_region)
        self.l2 = float(l2)
        self.weight_decay = float(weight_decay)
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
        problem = state.problem.at(params, data)
        if state.plan is None:
            size = next(problem.batches()).size if minibatch else 0
            state = replace(state, plan=choose(self.options, problem, minibatch=size))
        plan = state.plan
        assert plan is not None
        if plan.statistics_share == 1.0 and self._looks_at_layers(plan, state):
            problem = problem.at(keep=True)
        local = self._look(problem, plan, state, params, gradient, loss)
        squared_norm = local.dot(local.gradient, local.gradient)
        if not (math.isfinite(local.value) and math.isfinite(squared_norm)):
            return self._step_back(state, plan, local, squared_norm)
        matrix = self._matrix(plan, _part(problem, plan.statistics_share), state.step)
        state = self._with_statistics(state, plan, matrix)
        state = self._with_damping(state, plan, local, matrix)
        assert state.damping is not None
        if hasattr(plan.damping, "takes_uphill") and (state.best is None or local.value < state.best):
            state = replace(state, best=local.value, best_params=params)
        search = Search(self, plan, state, local, matrix)
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
            direction=unravel(problem.xp, move.direction * -1.0) if self.momentum is not None else None,
            rate=abs(move.learning_rate) if move.accepted and move.learning_rate else state.rate,
            memory=move.memory if move.accepted else state.memory,
            previous=params,
            failures=0 if move.accepted and not math.isinf(move.ratio) else state.failures,
            average=_averaged(state, plan, moved),
        )
        if following.best is not None and move.accepted and move.after < following.best:
            following = replace(following, best=move.after, best_params=moved)
        return moved, following, info

    def averaged(self, state: State) -> Tree:
        """The Polyak average of the parameters.

        Raises:
            DataError: without ``averaging``, or before the first step.
        """
        if state.average is None:
            raise DataError("there is no average of the parameters: pass NaturalGradient(averaging=0.99), and take a step")
        return state.average

    def best(self, state: State) -> Tree:
        """The parameters with the least objective so far, for damping that takes steps uphill (``DelayedGratification``).

        Raises:
            DataError: with another damping, or before the first step.
        """
        if state.best is None:
            raise DataError("the best parameters are kept from the first step on, with damping=curvature.DelayedGratification()")
        return state.best_params

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
        exact = self._exact(plan, _part(problem, plan.model_share))
        return Local(
            problem, self.objective, theta, slope, value, exact, self.l2, state.velocity, state.rate, state.step, state.memory
        )

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
            memory=state.memory,
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
        return self._exact(plan, problem)

    def _exact(self, plan: Plan, problem: Problem) -> GaussNewtonMatrix:
        """The matrix of the quadratic model, also where the approximation is estimated from draws or scores."""
        if callable(plan.fisher):
            return self._matrix(plan, problem, 0)
        return GGN(problem) if plan.fisher == "ggn" else Fisher(problem)

    @staticmethod
    def _gathers(plan: Plan, state: State) -> bool:
        return state.statistics is None or state.step % plan.statistics_every == 0

    def _looks_at_layers(self, plan: Plan, state: State) -> bool:
        """Whether this step needs more of a forward pass than loss and gradient, for which libraries have faster programs."""
        if self._gathers(plan, state) or state.operator is None:
            return True
        return plan.refresh.due(state.age, state.statistics, state.built)

    def _with_statistics(self, state: State, plan: Plan, matrix: GaussNewtonMatrix) -> State:
        if not self._gathers(plan, state):
            return state
        average = MovingAverage(plan.method, plan.decay, state.statistics, state.updates).update(matrix)
        return replace(state, statistics=average.statistics, updates=average.updates)

    def _with_damping(self, state: State, plan: Plan, local: Local, matrix: GaussNewtonMatrix) -> State:
        """λ, and γ where it is searched, at the first step."""
        damping, gamma = state.damping, state.gamma
        if damping is None:
            damping = plan.damping.initial
            damping = Search.calibrated(self, plan, state, local, matrix) if damping is None else float(damping)
        if gamma is None and self.factored_damping is not None:
            gamma = (damping + self.l2) ** 0.5
        return replace(state, damping=damping, gamma=gamma)


def _averaged(state: State, plan: Plan, params: Tree) -> Tree:
    if not plan.averaging:
        return None
    if state.average is None:
        return params
    share = min(1.0 - 1.0 / (state.step + 1), plan.averaging)
    return tree_map(lambda a, p: a * share + p * (1.0 - share), state.average, params)


def _part(problem: Problem, share: float) -> Problem:
    """The problem on the first examples of its batch."""
    batch = problem.data.single
    if share == 1.0 or batch is None:
        return problem
    return problem.at(data=batch.part(slice(0, max(1, math.ceil(share * batch.size)))), keep=True)
