"""Methods of torch.optim on modules."""

from __future__ import annotations

from typing import Any

import torch

ITERATIONS = 4


def adam(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Adam."""
    _minibatches(problem, trace, lambda p: torch.optim.Adam(p, lr=settings["learning_rate"]))


def nesterov(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Gradient descent with Nesterov's momentum."""
    rate, momentum = settings["learning_rate"], settings["momentum"]
    _minibatches(problem, trace, lambda p: torch.optim.SGD(p, lr=rate, momentum=momentum, nesterov=True))


def _minibatches(problem: Any, trace: Any, make: Any) -> None:
    def steps(module: torch.nn.Module) -> Any:
        """One step for each value that is asked for."""
        optimizer = make(module.parameters())
        for x, y in problem.minibatches():
            optimizer.zero_grad()
            problem.loss(module, x, y).backward()
            optimizer.step()
            yield

    for _ in zip(range(3), steps(problem.module()), strict=False):  # warm
        pass
    module = problem.module()
    trace.start(module)
    for _ in steps(module):
        trace.step(module)


def lbfgs(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """L-BFGS with a line search (strong Wolfe) on all the examples; measured after every ``ITERATIONS``."""
    x, y = problem.data()

    def optimizer_of(module: torch.nn.Module) -> tuple[torch.optim.LBFGS, Any]:
        optimizer = torch.optim.LBFGS(
            module.parameters(),
            max_iter=ITERATIONS,
            history_size=settings["history"],
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = problem.loss(module, x, y)
            loss.backward()
            return loss

        return optimizer, closure

    optimizer, closure = optimizer_of(problem.module())
    optimizer.step(closure)  # warm
    module = problem.module()
    optimizer, closure = optimizer_of(module)
    trace.start(module)
    state = optimizer.state[next(module.parameters())]
    while True:
        before, steps = [p.detach().clone() for p in module.parameters()], state.get("n_iter", 0)
        optimizer.step(closure)
        if all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)):
            trace.end(module, "the line search found nothing better")
            return
        trace.step(module, state["n_iter"] - steps)
