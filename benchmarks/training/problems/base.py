"""What a problem says of itself, in two kinds: a function of one vector in JAX, and a module with minibatches in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class Problem:
    """A benchmark.

    Attributes:
        name, summary: what it is.
        measured: what the targets are about: the first figure of ``measure``.
        targets: values of it to reach.
        budget: seconds that a contender has by default.
        threads: of every library; one where arrays are so small that threads would only wait for each other.
        spacing, least: resolution of its times, see ``Trace``.
        kind: "vector" (JAX) or "module" (PyTorch).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    measured: ClassVar[str]
    targets: ClassVar[tuple[float, ...]]
    budget: ClassVar[float] = 30.0
    threads: ClassVar[int] = 2
    spacing: ClassVar[float] = 0.02
    least: ClassVar[float] = 0.0
    kind: ClassVar[str]

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        self.seed = seed
        self.device = device

    def measure(self, params: Any) -> dict[str, float]:
        """Figures at the parameters, the one that the targets are about first."""
        raise NotImplementedError

    def finish(self) -> None:
        """Wait for what the device still does."""


class VectorProblem(Problem):
    """min over θ ∈ R^P of ``objective(θ)``, a function in JAX.

    Attributes:
        start: θ at the start, a NumPy vector.
        unravel: θ → the tree of parameters that ``curvature`` works with.

    A problem of least squares also has ``residuals(θ)``, with objective = ½ ‖residuals‖², and ``jacobian(θ)``.
    """

    kind = "vector"
    least_squares: ClassVar[bool] = False
    start: Any
    unravel: Any

    def objective(self, theta: Any) -> Any:
        """The objective, a 0-d array."""
        raise NotImplementedError


class ModuleProblem(Problem):
    """A ``torch.nn.Module`` and its minibatches."""

    kind = "module"
    batch: ClassVar[int]

    def module(self) -> Any:
        """The module at the start."""
        raise NotImplementedError

    def data(self) -> tuple[Any, Any]:
        """All the training examples, inputs and targets, on the device."""
        raise NotImplementedError

    def loss(self, module: Any, x: Any, y: Any) -> Any:
        """The objective on a batch: the mean loss and the weight cost."""
        raise NotImplementedError

    def minibatches(self, size: int | None = None) -> Iterator[tuple[Any, Any]]:
        """Minibatches without end, each epoch in a new order."""
        import torch

        x, y = self.data()
        size = min(size or self.batch, x.shape[0])
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(x.shape[0], generator=generator).to(x.device)
            for first in range(0, x.shape[0] - size + 1, size):
                chosen = order[first : first + size]
                yield x[chosen], y[chosen]

    def finish(self) -> None:
        if self.device != "cpu":
            import torch

            torch.cuda.synchronize()
