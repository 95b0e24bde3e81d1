"""What a step can know of the objective near the parameters: asked for by the rules, computed when it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..backend import Closure, Keyed
from ..matrices import GaussNewtonMatrix
from ..problem import Problem
from ..problem.memory import guarded
from .objective import Loss, Objective

Array = Any
Tree = Any


class Local:
    """The objective h and its quadratic model M(δ) = h + ∇h·δ + ½ δᵀ (F + (λ + l2) I) δ at one point, in flat vectors (P,).

    Attributes:
        problem: at the parameters and on the data of the step.
        params: θ (P,). gradient: ∇h (P,). value: h(θ).
        rate: the learning rate of the last step, or None. step: how many steps came before.
        memory: what the rule of the learning rate left at the last step, numbers; () at the first.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        params: Array,
        gradient: Array,
        value: float,
        matrix: GaussNewtonMatrix,
        l2: float,
        velocity: Tree | None,
        rate: float | None,
        step: int = 0,
        memory: tuple[float, ...] = (),
    ) -> None:
        self.problem = problem
        self.objective = objective
        self.params = params
        self.gradient = gradient
        self.value = value
        self.matrix = matrix
        self.l2 = l2
        self._velocity = velocity
        self.rate = rate
        self.step = step
        self.memory = memory

    @cached_property
    def previous(self) -> Array | None:
        """The last update δ (P,), or None."""
        # Most rules never ask for it, and a flat copy of the parameters is no small part of a step.
        return None if self._velocity is None else self.problem.space.ravel(self.problem.xp, self._velocity)

    @property
    def rounding(self) -> float:
        """Changes of h below this are rounding."""
        return 8 * float(self.problem.xp.finfo(self.problem.model.dtype).eps) * abs(self.value)

    def dot(self, a: Array, b: Array) -> float:
        """⟨a, b⟩."""
        return float(self.problem.xp.sum(a * b))

    def look(self, update: Array, *pairs: tuple[Array, Array]) -> list[float]:
        """h(θ + δ) on the data of the step, and ⟨a, b⟩ of some pairs: one program and one transfer, a forward pass."""
        problem, l2 = self.problem, self.l2
        xp, space, batch = problem.xp, problem.space, problem.data.single
        # A loss of one's own (a training loop's closure) says its value itself.
        loss = problem.loss_of(batch) if batch is not None and type(self.objective) is Loss else None

        def joined(value: Array, moved: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
            numbers = [value, xp.sum(moved * moved), *(xp.sum(a * b) for a, b in pairs)]
            return xp.stack([xp.reshape(number, ()) for number in numbers])

        if isinstance(loss, Closure) and batch is not None:
            function = loss.keyed.function

            def program(point: Tree, data: Tree) -> Array:
                start, step, given = point
                moved = start + step
                return joined(function(space.unravel(xp, moved), data), moved, given)

            keyed = Keyed(program, ("looked at", loss.keyed.key, len(pairs)), problem.model.compiled)
            with guarded(problem, batch):
                found = problem.backend.evaluate(keyed.on(loss.data), [self.params, update, list(pairs)])
            share = problem.share(batch)
        else:
            moved = self.params + update
            found, share = joined(self.objective.value(problem.at(space.unravel(xp, moved))), moved, pairs), 1.0
        value, squared, *products = (float(number) for number in problem.backend.to_numpy(found))
        return [value * share + 0.5 * l2 * squared, *products]

    def forms(self, directions: Sequence[Array]) -> list[list[float]]:
        """DᵀFD with the exact matrix, by one forward derivative for each direction."""
        space, xp = self.problem.space, self.problem.xp
        trees = [space.unravel(xp, direction) for direction in directions]
        form = self.problem.backend.to_numpy(self.matrix.quadratic_forms(trees))
        return [[float(entry) for entry in row] for row in form]


class Along:
    """The objective over the span of some directions, for rules that choose a point of it.

    Attributes:
        local: where. directions: the first is -(F̂ + λI)⁻¹ ∇h. damping: λ. bend: acceleration a, or None.
        memory: numbers that a rule leaves for the next step; those of the last one, where it leaves none.
    """

    def __init__(self, local: Local, directions: Sequence[Array], damping: float, bend: Array | None = None) -> None:
        self.local = local
        self.directions = list(directions)
        self.damping = damping
        self.bend = bend
        self.memory = local.memory
        self._fisher: list[list[float]] | None = None
        self._gram: list[list[float]] | None = None
        self._slopes: list[float] | None = None
        self._values: dict[tuple[float, ...], float] = {}

    @property
    def slopes(self) -> list[float]:
        """∇h·d_i."""
        if self._slopes is None:
            self._slopes = [self.local.dot(self.local.gradient, d) for d in self.directions]
        return self._slopes

    @property
    def fisher(self) -> list[list[float]]:
        """d_iᵀ F d_j."""
        if self._fisher is None:
            self._fisher = self.local.forms(self.directions)
        return self._fisher

    @property
    def known(self) -> bool:
        """Whether the Fisher's products were taken already, so that predictions cost nothing."""
        return self._fisher is not None

    @property
    def gram(self) -> list[list[float]]:
        """d_iᵀ (F + (λ + l2) I) d_j."""
        if self._gram is None:
            ds, shift, dot = self.directions, self.damping + self.local.l2, self.local.dot
            self._gram = [[self.fisher[i][j] + shift * dot(a, b) for j, b in enumerate(ds)] for i, a in enumerate(ds)]
        return self._gram

    def update(self, coefficients: Sequence[float]) -> Array:
        """δ = Σ c_i d_i, bent by ½ c_1² a where there is an acceleration a."""
        first = coefficients[0]
        total = self.directions[0] if first == 1.0 else self.directions[0] * first
        for c, d in zip(coefficients[1:], self.directions[1:], strict=True):
            total = total + d * c
        return total if self.bend is None else total + self.bend * (0.5 * first**2)

    def value(self, coefficients: Sequence[float]) -> float:
        """h(θ + δ)."""
        key = tuple(coefficients)
        if key not in self._values:
            (self._values[key],) = self.local.look(self.update(coefficients))
        return self._values[key]

    def know(self, coefficients: Sequence[float], value: float, slopes: Sequence[float]) -> None:
        """Take in what was computed elsewhere."""
        self._values[tuple(coefficients)] = value
        self._slopes = list(slopes)

    def predicted(self, coefficients: Sequence[float]) -> float:
        """M(δ) - M(0), with the exact matrix."""
        return sum(c * s for c, s in zip(coefficients, self.slopes, strict=True)) + 0.5 * form(self.gram, coefficients)

    def size(self, coefficients: Sequence[float]) -> float:
        """Σ |c_i ∇h·d_i| + ½ δᵀ (F + (λ + l2) I) δ: what the terms of the quadratic model come to."""
        return sum(abs(c * s) for c, s in zip(coefficients, self.slopes, strict=True)) + 0.5 * form(self.gram, coefficients)

    def divergence(self, coefficients: Sequence[float]) -> float:
        """½ δᵀFδ, which approximates the Kullback-Leibler divergence of the step."""
        return 0.5 * form(self.fisher, coefficients)


def form(matrix: list[list[float]], c: Sequence[float]) -> float:
    """cᵀ M c."""
    return sum(c[i] * matrix[i][j] * c[j] for i in range(len(c)) for j in range(len(c)))
