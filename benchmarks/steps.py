"""The price of a natural-gradient step in plain gradients: ten steps as one operation, so that refreshes are in it.

    python benchmarks/steps.py [--rounds 20]

On the autoencoder of ``benchmarks/training/problems/curves.py`` (842,340 parameters), batch 1000, float32, PyTorch. The unit is
ten gradients by plain PyTorch. Inverses are refreshed every ten steps. Prints a table and writes it, with versions, under
benchmarks/results/. The machine must be otherwise idle.
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

STEPS = 10

VARIANTS: dict[str, dict[str, Any]] = {
    "statistics every step, all of the batch": {"learning_rate": 0.01, "statistics_every": 1, "statistics_share": 1.0},
    "statistics every step, 1/8 of the batch": {"learning_rate": 0.01, "statistics_every": 1, "statistics_share": 0.125},
    "statistics every 10, all of the batch": {"learning_rate": 0.01, "statistics_every": 10, "statistics_share": 1.0},
    "statistics every 10, 1/8 of the batch": {"learning_rate": 0.01, "statistics_every": 10, "statistics_share": 0.125},
    "exact quadratic model in every step (1/2), statistics every 5 (1/8)": {},
    "all left to the optimiser": {"learning_rate": "chosen", "damping": None},
}
"""K-FAC of the Monte Carlo Fisher; λ = 0.1 and the learning rate fixed where nothing else is said."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    record = measure(args.rounds, args.threads)
    text = table(record)
    print(text)
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / "steps-curves-torch-cpu"
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Every variant once in each round, in random order."""
    import torch
    from timing import interleaved, multiples
    from training.problems.curves import Problem

    import curvature as cv

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    problem = Problem(0)
    images = torch.from_numpy(problem.train)
    batches = [(part, part) for part in images.split(1000)]
    module = problem.module()

    def gradients() -> None:
        for x, y in batches[:STEPS]:
            module.zero_grad()
            problem.loss(module, x, y).backward()

    def stepper(options: dict[str, Any]) -> Callable[[], None]:
        rules = {"damping": 0.1, "learning_rate": cv.QuadraticModel(), **options}
        if rules["learning_rate"] == "chosen":
            del rules["learning_rate"]
        optimizer = cv.NaturalGradient("kfac", fisher="monte-carlo", l2=problem.l2, refresh_every=10, **rules)
        task = cv.Problem(problem.module(), cv.Bernoulli(), batches[0])
        now = [task.params, optimizer.init(task)]

        def steps() -> None:
            for batch in batches[:STEPS]:
                now[0], now[1], _ = optimizer.step(now[0], now[1], batch)

        return steps

    operations = {"gradient": gradients} | {name: stepper(options) for name, options in VARIANTS.items()}
    seconds = interleaved(operations, rounds=rounds, warmup=11)  # what is left to the optimiser changes after a hundred steps
    return {
        "threads": threads,
        "rounds": rounds,
        "platform": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("curvature", "torch", "numpy")},
        "operations": multiples(seconds, "gradient"),
    }


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    found = record["operations"]
    lines = [
        "## The price of a step",
        "",
        f"K-FAC on the autoencoder of CURVES (842,340 parameters), batch 1000, inverses every 10 steps; medians (quartiles) of "
        f"{record['rounds']} interleaved rounds of ten steps, in gradients of plain PyTorch "
        f"({found['gradient']['milliseconds'] / STEPS:.1f} ms). {record['threads']} threads, {record['platform']}, "
        + ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        + ".",
        "",
        "| step | gradients |",
        "|---|---|",
    ]
    for name, values in found.items():
        if name != "gradient":
            lines.append(f"| {name} | {values['multiple']:.2f} ({values['low']:.2f} to {values['high']:.2f}) |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
