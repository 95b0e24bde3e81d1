"""What automatic differentiation on NumPy costs beyond the matrix products of a gradient written by hand.

    python benchmarks/overhead.py [--rounds 40]

prints the ratio of the medians; to reach: at most 1.6.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np
from networks import NETWORKS
from ours import problem
from timing import interleaved

import curvature as cv


def products(params: list[dict[str, Any]], x: Any) -> list[Any]:
    """The products of matrices in one gradient, and nothing else: no activations, no loss."""
    inputs, gradients = [x], []
    for layer in params[:-1]:
        inputs.append(inputs[-1] @ layer["weight"].T)
    g = inputs[-1] @ params[-1]["weight"].T
    for layer, given in zip(params[:0:-1], inputs[:0:-1], strict=True):
        gradients.append(g.T @ given)
        g = g @ layer["weight"]
    return [*gradients, g.T @ inputs[0]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    network = NETWORKS["mlp"]
    task = problem(cv.backend("numpy"), network)
    x, _ = network.data()
    params = [{name: np.asarray(value) for name, value in layer.items()} for layer in network.parameters()]
    seconds = interleaved({"gradient": task.loss_and_gradient, "products": lambda: products(params, x)}, rounds=rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"gradient by autodiff {1e3 * medians['gradient']:.2f} ms, its products by hand {1e3 * medians['products']:.2f} ms: "
        f"{medians['gradient'] / medians['products']:.2f} times (to reach: 1.6)"
    )


if __name__ == "__main__":
    main()
